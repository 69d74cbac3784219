"""Several pictures as one: image, truth and prediction side by side, sample under sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from effiseg.visualization.label_colours import UInt8Array, colour_map

PICTURE_WIDTH = 384
"""Pixels; wide enough to judge a street scene, small enough for dozens on a page."""
_GAP = 4


def prediction_sheet(
    samples: Sequence[tuple[UInt8Array, UInt8Array, UInt8Array]],
    palette: Sequence[Sequence[int]],
    width: int = PICTURE_WIDTH,
) -> UInt8Array:
    """One row a sample: the image, the truth, the prediction.

    Args:
        samples: image (H, W, 3) uint8 RGB, truth and prediction (H, W) uint8; sizes may differ between samples.
        palette: K RGB colours, 0..255.
        width: pixels; wider pictures are reduced to it.

    Returns:
        (height, width, 3) uint8 with white gaps.
    """
    return tiled(
        [
            [
                reduced(image, width),
                colour_map(reduced(truth, width), palette),
                colour_map(reduced(found, width), palette),
            ]
            for image, truth, found in samples
        ]
    )


def reduced(picture: UInt8Array, width: int) -> UInt8Array:
    """A picture at most so wide, with its aspect ratio kept.

    Args:
        picture: (H, W, 3) uint8 RGB, which is smoothed, or (H, W) uint8 labels, of which pixels are picked.
        width: pixels.
    """
    if picture.shape[1] <= width:
        return picture
    size = (width, max(1, round(picture.shape[0] * width / picture.shape[1])))
    method = Image.Resampling.NEAREST if picture.ndim == 2 else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(picture).resize(size, method), np.uint8)


def tiled(pictures: Sequence[Sequence[UInt8Array]]) -> UInt8Array:
    """Rows of (h, w, 3) uint8 pictures under each other, at the upper left of cells that are as large as needed."""
    heights = [max(picture.shape[0] for picture in row) for row in pictures]
    widths = [max(picture.shape[1] for picture in column) for column in zip(*pictures, strict=True)]
    sheet = np.full(
        (sum(heights) + _GAP * (len(heights) - 1), sum(widths) + _GAP * (len(widths) - 1), 3), 255, np.uint8
    )
    top = 0
    for row, height in zip(pictures, heights, strict=True):
        left = 0
        for picture, width in zip(row, widths, strict=True):
            sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
            left += width + _GAP
        top += height + _GAP
    return sheet
