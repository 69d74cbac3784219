"""Reading an image or a mask file, and mapping raw values to classes.

Masks are decoded by Pillow, which leaves the ids of palette PNGs alone where OpenCV would turn them into colors.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from effiseg.data.classes import IGNORE_LABEL, Classes
from effiseg.data.image_file import count_pages, decode_image, open_image
from effiseg.data.mask_errors import MaskColorError
from effiseg.data.regular_file import AnyPath
from effiseg.data.transforms import UInt8Array
from effiseg.errors import DataError

RawMask = npt.NDArray[np.integer[Any]]


class Labels(NamedTuple):
    """Labels, and what of the raw values no description knows."""

    label: UInt8Array
    """(H, W) class index or ignore_index."""
    unlisted: dict[int, int]
    """Raw values that label_mapping does not list (they are ignored) → pixels."""


def read_image(path: AnyPath) -> UInt8Array:
    """(H, W, 3) uint8 RGB, turned upright as its EXIF data says; see `effiseg.data.image_file.decode_image`.

    Raises:
        DataError: the file cannot be read, is no image, or has too many pixels.
    """
    return decode_image(path)[0]


def read_raw_mask(path: AnyPath) -> RawMask:
    """(H, W) integers as stored: palette indices, or 1, 8, 16 or 32-bit grey values.

    Raises:
        DataError: the file cannot be read, has too many pixels, or holds colors instead of one value a pixel.
    """
    with open_image(path, "mask") as file:
        _refuse_pages(file, path)
        file.load()  # asarray alone would hide that the file is cut off
        mode = file.mode
        values = np.asarray(file)
    if values.ndim != 2 or not (values.dtype == np.bool_ or np.issubdtype(values.dtype, np.integer)):
        raise MaskColorError(
            f"{path}: a mask holds one integer a pixel (greyscale or palette PNG); found mode {mode}; save class "
            "indices, or set mask_format: color and a palette"
        )
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


def read_colors(path: AnyPath) -> UInt8Array:
    """(H, W, 3) uint8 RGB colors of a mask; alpha is dropped, palettes are looked up.

    Raises:
        DataError: the file cannot be read, or has too many pixels.
    """
    with open_image(path, "mask") as file:
        _refuse_pages(file, path)
        file.load()
        return np.asarray(file.convert("RGB"))


def _refuse_pages(file: Image.Image, path: AnyPath) -> None:
    pages = count_pages(file)
    if pages > 1:
        raise DataError(f"{path}: a mask has one page; found {pages}; save the one that is meant")


def map_labels(raw: RawMask, classes: Classes, path: AnyPath) -> Labels:
    """Raw mask values → classes.

    Args:
        raw: (H, W) integers as stored.
        classes: its label_mapping is applied; without one, values are class indices already.
        path: the mask's file, for the error.

    Returns:
        The labels and the unlisted values; ignore_index itself needs no listing.

    Raises:
        DataError: without a label_mapping, a value that is neither a class nor ignore_index.
    """
    if raw.dtype == np.uint8:
        bytes_ = raw.astype(np.uint8, copy=False)
        known, labels_of = _lookup(classes, np.arange(256))
        labels = cv2.LUT(bytes_, labels_of).astype(np.uint8, copy=False)
        if not cv2.countNonZero(cv2.LUT(bytes_, (~known).view(np.uint8))):
            return Labels(labels, {})
    values, inverse, counts = np.unique(raw, return_inverse=True, return_counts=True)
    labels_of_values, unlisted = map_values(values, counts, classes, path)
    return Labels(labels_of_values[inverse].reshape(raw.shape), unlisted)


def map_values(
    values: npt.NDArray[Any], counts: npt.NDArray[Any], classes: Classes, path: AnyPath
) -> tuple[UInt8Array, dict[int, int]]:
    """`map_labels` for the distinct values (V,) of a mask and their numbers of pixels (V,)."""
    known, labels = _lookup(classes, values)
    unlisted = {int(value): int(count) for value, count in zip(values[~known], counts[~known], strict=True)}
    if unlisted and classes.label_mapping is None:
        raise _foreign_values_error(classes, path, unlisted)
    return labels, unlisted


def _foreign_values_error(classes: Classes, path: AnyPath, unlisted: dict[int, int]) -> DataError:
    """The error for mask values that are no class, in a data set without label_mapping."""
    shown = ", ".join(str(value) for value in list(unlisted)[:8]) + (", …" if len(unlisted) > 8 else "")
    return DataError(
        f"{path}: mask values must be classes 0 to {classes.num_classes - 1} or {classes.ignore_index} (ignored); "
        f"found {shown} on {sum(unlisted.values())} pixels; correct the mask, or give the data set a "
        f"label_mapping that lists every value, for example {next(iter(unlisted))}: {IGNORE_LABEL}"
    )


def _lookup(classes: Classes, values: npt.NDArray[Any]) -> tuple[npt.NDArray[np.bool_], UInt8Array]:
    """For each raw value: whether the data set's description knows it, and its label."""
    labels = np.full(values.shape, classes.ignore_index, dtype=np.uint8)
    if classes.label_mapping is None:
        known = (values >= 0) & (values < classes.num_classes)
        labels[known] = values[known]
        return known | (values == classes.ignore_index), labels
    targets = [classes.label_mapping.get(value) for value in values.tolist()]  # a mapping may have a million entries
    known = np.array([target is not None for target in targets], dtype=np.bool_)
    labels[known] = [target for target in targets if target is not None]
    return known | (values == classes.ignore_index), labels


def read_mask(path: AnyPath, classes: Classes) -> UInt8Array:
    """(H, W) uint8 class index or ignore_index of a mask of class indices or raw values, as it is stored.

    Raises:
        DataError: the file cannot be read, or holds a value that is no class (see `map_labels`).
    """
    return map_labels(read_raw_mask(path), classes, path)[0]
