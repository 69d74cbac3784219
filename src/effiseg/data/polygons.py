"""Filling polygons, by one of two rules for the pixels at their border."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float32]
"""(N, 2) x and y of a polygon's corners in pixels; the top left pixel covers 0 to 1 in both."""


PolygonBorder = Literal["centers", "pixels"]
"""centers: corners are places in the plane, and a pixel belongs to a polygon if its centre lies inside. pixels: corners
are pixels, as in contours that were traced around a mask; they and the pixels on the lines between them belong."""
_FARTHEST = 2**20
"""Limit that corners outside the image are moved to, pixels; drawing counts in 64 bits with 16 behind the point."""


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


def fill_contour(points: Points, shape: tuple[int, int]) -> tuple[BoolArray, tuple[slice, slice]]:
    """The pixels inside a closed line of pixels, and those on it; arguments and result as `fill_polygon`.

    It gives back the component that `cv2.findContours` traced, its holes filled; one or two corners are a line.
    """
    height, width = shape
    corners = np.clip(np.rint(points), -_FARTHEST, _FARTHEST).astype(np.int32)
    left, top = np.clip(corners.min(axis=0), 0, [width, height]).tolist()
    right, bottom = np.clip(corners.max(axis=0) + 1, 0, [width, height]).tolist()
    place = slice(top, bottom), slice(left, right)
    if top >= bottom or left >= right:
        return np.zeros((max(0, bottom - top), max(0, right - left)), dtype=np.bool_), place
    canvas = np.zeros((bottom - top, right - left), dtype=np.uint8)
    cv2.fillPoly(canvas, [corners], (1,), offset=(-left, -top))
    return canvas.astype(np.bool_), place


def polygon_pixels(points: Points, border: PolygonBorder) -> float:
    """About how many pixels a polygon has: its area, with the rule pixels by Pick's theorem."""
    area = polygon_area(points)
    if border == "centers":
        return area
    steps = np.abs(points - np.roll(points, -1, axis=0)).max(axis=1)
    return area + float(steps.sum(dtype=np.float64)) / 2 + 1


def polygon_area(points: Points) -> float:
    """Area in pixels, by the shoelace formula."""
    x, y = points[:, 0].astype(np.float64), points[:, 1].astype(np.float64)
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _first_centre(coordinate: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.int64]:
    """Index of the first pixel whose centre is not before the coordinate, 0 to `size`."""
    return np.clip(np.ceil(coordinate - 0.5), 0, size).astype(np.int64)
