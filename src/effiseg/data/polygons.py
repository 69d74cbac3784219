"""Filling polygons, by one rule: a pixel belongs to a polygon if its centre lies inside."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float32]
"""(N, 2) x and y of a polygon's corners in pixels; the top left pixel covers 0 to 1 in both."""


def fill_polygon(points: Points, shape: tuple[int, int]) -> tuple[BoolArray, tuple[slice, slice]]:
    """The pixels whose centres lie inside a polygon, by the even-odd rule.

    Each edge toggles, in every row whose centre it crosses, all pixels to its right; what was toggled an odd
    number of times is inside.

    Args:
        points: the corners; the last is joined to the first. They may lie outside the image.
        shape: (height, width) of the image.

    Returns:
        (h, w) mask of the rows and columns given with it, which hold the polygon; perhaps none.
    """
    height, width = shape
    corners = points.astype(np.float64)
    x0, y0 = corners[:, 0], corners[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    top, bottom = _first_centre(np.array([y0.min(), y0.max()]), height)
    left, right = _first_centre(np.array([x0.min(), x0.max()]), width)
    rows_and_columns = slice(int(top), int(bottom)), slice(int(left), int(right))
    if top >= bottom or left >= right:
        return np.zeros((max(0, bottom - top), max(0, right - left)), dtype=np.bool_), rows_and_columns
    first = np.clip(_first_centre(np.minimum(y0, y1), height), top, bottom)
    counts = np.clip(_first_centre(np.maximum(y0, y1), height), top, bottom) - first
    edge = np.repeat(np.arange(len(corners)), counts)
    row = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    x = x0[edge] + (row + 0.5 - y0[edge]) * (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
    column = np.clip(np.ceil(x - 0.5), left, right).astype(np.int64) - left
    columns = int(right - left) + 1  # the last one takes what toggles nothing
    toggles = np.bincount((row - top) * columns + column, minlength=int(bottom - top) * columns)
    inside = np.cumsum(toggles.reshape(-1, columns)[:, :-1], axis=1) % 2 == 1
    return inside, rows_and_columns


def polygon_area(points: Points) -> float:
    """Area in pixels, by the shoelace formula."""
    x, y = points[:, 0].astype(np.float64), points[:, 1].astype(np.float64)
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _first_centre(coordinate: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.int64]:
    """Index of the first pixel whose centre is not before the coordinate, 0 to `size`."""
    return np.clip(np.ceil(coordinate - 0.5), 0, size).astype(np.int64)
