"""Label maps as pictures: colour maps, overlays and error maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from effiseg.visualization.palettes import Colour

UInt8Array = NDArray[np.uint8]

RIGHT: Colour = (235, 235, 235)
WRONG: Colour = (213, 94, 0)
UNLABELLED: Colour = (150, 150, 150)
"""Color of no class: not labelled, or a prediction that is no class."""
_PIXELS_AT_A_TIME = 2**18  # of an overlay, whose floats need twelve times the image's memory


def colour_map(labels: UInt8Array, palette: Sequence[Sequence[int]]) -> UInt8Array:
    """Every pixel in the colour of its class.

    Args:
        labels: (H, W) uint8; a value outside the palette is gray, `UNLABELLED`.
        palette: K RGB colours, 0..255.

    Returns:
        (H, W, 3) uint8.
    """
    return colour_table(palette)[labels]


def colour_table(palette: Sequence[Sequence[int]]) -> UInt8Array:
    """(256, 3) uint8: the colour of every label value, `UNLABELLED` beyond the palette."""
    table = np.full((256, 3), UNLABELLED, np.uint8)
    table[: len(palette)] = palette
    return table


def overlay(
    image: UInt8Array, labels: UInt8Array, palette: Sequence[Sequence[int]], opacity: float = 0.5
) -> UInt8Array:
    """The image with the colours of its labels laid over it; pixels of no class show the image.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8.
        palette: K RGB colours, 0..255.
        opacity: 0 shows the image, 1 the colours.

    Returns:
        (H, W, 3) uint8.
    """
    table = colour_table(palette).astype(np.float32) * opacity
    table[len(palette) :] = 0
    remaining = np.where(np.arange(256) < len(palette), 1 - opacity, 1).astype(np.float32)[:, None]
    mixed = np.empty_like(image)
    rows = max(1, _PIXELS_AT_A_TIME // max(1, labels.shape[1]))
    for top in range(0, len(labels), rows):
        part = labels[top : top + rows]
        mixed[top : top + rows] = np.rint(image[top : top + rows] * remaining[part] + table[part])
    return mixed


def error_map(prediction: UInt8Array, truth: UInt8Array, classes: int) -> UInt8Array:
    """Where a prediction is wrong: right pixels light, wrong ones orange, unlabelled ones grey.

    Args:
        prediction: (H, W) uint8 classes.
        truth: (H, W) uint8; values from `classes` on are unlabelled.
        classes: K.

    Returns:
        (H, W, 3) uint8.
    """
    colours = np.where((prediction == truth)[..., None], np.array(RIGHT, np.uint8), np.array(WRONG, np.uint8))
    return np.where((truth >= classes)[..., None], np.array(UNLABELLED, np.uint8), colours)
