"""A label map as polygons, whose common borders are simplified alike, so that neither gaps nor overlaps come of it."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from effiseg.visualization.label_colours import UInt8Array

EXACT_TOLERANCE = 0.35
"""The largest tolerance with which drawing gives back every pixel, in steps of hundredths.

A border is a line through the middles of the pixels' edges, which passes every centre at a distance of at least √2/4,
and simplifying moves no point of it farther than the tolerance: it crosses no centre.
"""
_SHARE_OF_TOLERANCE = 1 / (1 + 2**-0.5)
"""OpenCV drops points once more when it is done, up to a half of the square of what it was told; both together keep
the tolerance."""
_OUTSIDE = 256
_FILLINGS = 3
_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))  # right, down, left, up, as (rows, columns)

Corners = npt.NDArray[np.float32]
"""(N, 2) x and y of corners in pixels; the top left pixel covers 0 to 1 in both."""


class Outline(NamedTuple):
    """A connected region of one class."""

    label: int
    """Its class."""
    outer: Corners
    """The line around it."""
    holes: list[Corners]
    """The lines around what lies in it."""
    area: float
    """What the line around it holds, pixels."""


def trace_outlines(labels: UInt8Array, tolerance: float = EXACT_TOLERANCE, least_area: int = 0) -> list[Outline]:
    """The regions of a label map, those that hold others before these.

    Painted over each other in this order, their outer lines alone are the label map: what lies in a hole is painted
    over it. A region is connected by the sides of its pixels.

    Args:
        labels: (H, W) uint8, a class for every pixel.
        tolerance: the farthest that simplifying may move a border, pixels.
        least_area: regions of fewer pixels go to what lies nearest.
    """
    labels = _without_small(labels, least_area)
    borders = _Borders(labels)
    outlines: dict[int, Outline] = {}
    holes: list[tuple[int, Corners]] = []
    regions = _regions(labels)
    for ring, row, column in borders.rings():
        rows, columns = np.divmod(ring, labels.shape[1] + 1)
        area = float(np.dot(columns, np.roll(rows, -1)) - np.dot(rows, np.roll(columns, -1))) / 2
        corners = borders.simplified(ring, tolerance)
        region = int(regions[row, column])
        if area > 0:
            outlines[region] = Outline(int(labels[row, column]), corners, [], area)
        elif len(corners) > 2:
            holes.append((region, corners))
    for region, corners in holes:
        outlines[region].holes.append(corners)
    return sorted((one for one in outlines.values() if len(one.outer) > 2), key=lambda one: -one.area)


def _regions(labels: UInt8Array) -> npt.NDArray[np.int32]:
    """(H, W) a number for every connected region."""
    numbers = np.zeros(labels.shape, dtype=np.int32)
    before = 0
    for label in np.unique(labels).tolist():
        count, own = cv2.connectedComponents((labels == label).astype(np.uint8), connectivity=4, ltype=cv2.CV_32S)
        numbers[own > 0] = own[own > 0] + before
        before += count
    return numbers


def _without_small(labels: UInt8Array, least_area: int) -> UInt8Array:
    for _ in range(_FILLINGS if least_area > 1 else 0):
        regions = _regions(labels)
        small = np.bincount(regions.reshape(-1))[regions] < least_area
        if not small.any() or small.all():
            break
        _, nearest = cv2.distanceTransformWithLabels(
            small.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        of_place = np.zeros(int(nearest.max()) + 1, dtype=np.uint8)
        of_place[nearest[~small]] = labels[~small]
        labels = of_place[nearest]
    return labels


class _Borders:
    """The sides of pixels between different labels, as directed edges with their pixel on the right.

    A place is a corner of a pixel, numbered row by row.
    """

    def __init__(self, labels: UInt8Array) -> None:
        height, width = labels.shape
        self._columns = width + 1
        padded = np.full((height + 2, width + 2), _OUTSIDE, dtype=np.int16)
        padded[1:-1, 1:-1] = labels
        inner = padded[1:-1, 1:-1]
        differs = (
            inner != padded[:-2, 1:-1], inner != padded[1:-1, 2:], inner != padded[2:, 1:-1], inner != padded[1:-1, :-2]
        )  # fmt: skip
        # Where the edge along each side begins, relative to the pixel's top left corner, going round it clockwise.
        begins = ((0, 0), (0, 1), (1, 1), (1, 0))
        self._has = np.zeros((4, height + 1, width + 1), dtype=np.bool_)
        for direction, ((row, column), sides) in enumerate(zip(begins, differs, strict=True)):
            self._has[direction, row : row + height, column : column + width] = sides
        across = padded[:-1, 1:-1] != padded[1:, 1:-1]
        down = padded[1:-1, :-1] != padded[1:-1, 1:]
        degree = np.zeros((height + 1, width + 1), dtype=np.int8)
        degree[:, :-1] += across
        degree[:, 1:] += across
        degree[:-1] += down
        degree[1:] += down
        degree[:: max(1, height), :: max(1, width)] = 3  # the picture's own corners stay
        self._is_fixed = (degree > 2).reshape(-1)

    def rings(self) -> list[tuple[npt.NDArray[np.int64], int, int]]:
        """Every closed line: its places, and row and column of a pixel on its right."""
        count = self._has[0].size
        has = self._has.reshape(4, count)
        following = np.zeros(4 * count, dtype=np.int64)
        for direction, (rows, columns) in enumerate(_STEPS):
            places = np.flatnonzero(has[direction])
            ends = places + rows * self._columns + columns
            turn = np.full(len(ends), (direction + 3) % 4)
            turn[has[direction, ends]] = direction
            turn[has[(direction + 1) % 4, ends]] = (direction + 1) % 4
            following[direction * count + places] = turn * count + ends
        after = following.tolist()
        seen = bytearray(4 * count)
        found = []
        for start in np.flatnonzero(has[0]).tolist():  # every ring goes right somewhere
            if seen[start]:
                continue
            ring, edge = [], start
            while not seen[edge]:
                seen[edge] = 1
                ring.append(edge)
                edge = after[edge]
            row, column = divmod(start, self._columns)
            found.append((np.array(ring, dtype=np.int64) % count, row, column))
        return found

    def simplified(self, ring: npt.NDArray[np.int64], tolerance: float) -> Corners:
        """The corners that are left of a ring."""
        fixed = np.flatnonzero(self._is_fixed[ring])
        if not len(fixed):
            fixed = np.sort([ring.argmin(), ring.argmax()])
        parts = []
        for first, last in zip(fixed, [*fixed[1:], fixed[0] + len(ring)], strict=True):
            arc = ring[np.arange(first, last + 1) % len(ring)]
            if arc[0] == arc[-1]:  # it meets others in one place
                middle = int(arc.argmax() if arc.max() != arc[0] else arc.argmin())
                parts += [
                    self._simplified_arc(arc[: middle + 1], tolerance),
                    self._simplified_arc(arc[middle:], tolerance),
                ]
            else:
                parts.append(self._simplified_arc(arc, tolerance))
        return np.concatenate([part[:-1] for part in parts])

    def _simplified_arc(self, arc: npt.NDArray[np.int64], tolerance: float) -> Corners:
        """A line between two places, the same from both of its sides."""
        forward = arc[:2:1].tolist() <= arc[:-3:-1].tolist()
        rows, columns = np.divmod(arc if forward else arc[::-1], self._columns)
        places = np.stack([columns, rows], axis=1).astype(np.float32)
        line = np.concatenate([places[:1], (places[:-1] + places[1:]) / 2, places[-1:]])
        kept = cv2.approxPolyDP(line, tolerance * _SHARE_OF_TOLERANCE, closed=False)[:, 0].astype(np.float32)
        return kept if forward else kept[::-1]
