"""Masks turned as the EXIF data turns their images."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from effiseg.data.image_file import ImageHeader, turn_upright
from effiseg.data.mask_errors import MaskSizeError
from effiseg.data.regular_file import AnyPath
from effiseg.data.transforms import UInt8Array

MaskOrientation = Literal["auto", "upright", "stored"]
"""Whether masks fit the upright image or the stored one, where an image's EXIF data turns it; auto: by their size."""


def turn_labels(labels: UInt8Array, header: ImageHeader) -> UInt8Array:
    """Labels (H, W) of the stored pixels → of the upright image."""
    return np.ascontiguousarray(turn_upright(labels, header.orientation))


def fit_labels(
    labels: UInt8Array, header: ImageHeader, orientation: MaskOrientation, image: AnyPath, mask: AnyPath, source: Path
) -> UInt8Array:
    """Labels turned to the upright image, where they fit the stored one.

    Args:
        labels: (H, W), as a mask stores them.
        header: of the image.
        orientation: what the data set's description says of its masks.
        image: the image's file, for errors.
        mask: the mask's file, for errors.
        source: the data set's description, for errors.

    Raises:
        MaskSizeError: they fit neither, or both, and nothing says which is meant.
    """
    upright, stored = labels.shape == header.shape, labels.shape == header.stored_shape
    if header.orientation == 1 and upright:
        return labels
    match orientation:
        case "stored" if stored:
            return turn_labels(labels, header)
        case "upright" if upright:
            return labels
        case "auto" if upright and stored:
            raise MaskSizeError(
                f"{image}: its EXIF orientation is {header.orientation}, and the size of {mask} does not "
                f"tell whether the mask is turned already; set mask_orientation to upright (it fits what viewers show) "
                f"or stored (it fits the stored pixels) in {source}, or store the image without EXIF orientation"
            )
        case "auto" if upright:
            return labels
        case "auto" if stored:
            return turn_labels(labels, header)
    fix = "replace one of them"
    if labels.shape == header.shape[::-1]:
        fix = f"one of them is turned by 90 degrees: turn the mask, or correct mask_orientation in {source}"
    raise MaskSizeError(
        f"{mask}: a mask is as large as its image; found {labels.shape[0]}x{labels.shape[1]} (HxW) "
        f"against {header.shape[0]}x{header.shape[1]} of {image}; {fix}"
    )
