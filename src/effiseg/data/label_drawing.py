"""Labels from regions: polygons, run lengths and patches, painted over each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from effiseg.data.findings import Kind
from effiseg.data.oddities import Oddity
from effiseg.data.polygons import (
    BoolArray,
    Points,
    PolygonBorder,
    fill_contour,
    fill_polygon,
    polygon_area,
    polygon_pixels,
)
from effiseg.data.run_lengths import decode_run_lengths, run_lengths
from effiseg.data.transforms import UInt8Array

DRAWING_RULES = 3
"""Version of the order and of the border rules: labels drawn by another are not served from a cache."""


class RunLengths(NamedTuple):
    """A mask as run lengths."""

    counts: str | npt.NDArray[np.int64]
    """As `decode_run_lengths` takes them."""
    shape: tuple[int, int]
    """(height, width) of the mask."""


class Patch(NamedTuple):
    """A mask of a part of an image, packed."""

    runs: npt.NDArray[np.int64]
    """Lengths of runs along the rows, of 0 and 1 in turns, beginning with 0; they fill it."""
    shape: tuple[int, int]
    """Its (height, width)."""
    corner: tuple[int, int] = (0, 0)
    """Row and column of its first pixel in the image; it may lead out of it."""

    @classmethod
    def of_mask(cls, mask: BoolArray, corner: tuple[int, int] = (0, 0)) -> Patch:
        """The patch of a mask (h, w)."""
        flat = np.concatenate([[False], mask.reshape(-1), [False]])
        changes = np.flatnonzero(flat[1:] != flat[:-1])
        runs = np.diff(np.concatenate([[0], changes, [mask.size]]))
        return cls(runs.astype(np.int64), (mask.shape[0], mask.shape[1]), corner)

    def within(self, shape: tuple[int, int]) -> tuple[BoolArray, tuple[slice, slice]]:
        """The part that lies in an image of (height, width), and the rows and columns that it covers."""
        mask = np.repeat(np.arange(len(self.runs)) % 2 == 1, self.runs).reshape(self.shape)
        starts = [min(max(0, start), size) for start, size in zip(self.corner, shape, strict=True)]
        ends = [
            min(max(start, corner + length), size)
            for start, corner, length, size in zip(starts, self.corner, self.shape, shape, strict=True)
        ]
        rows, columns = (slice(start, end) for start, end in zip(starts, ends, strict=True))
        top, left = (start - corner for start, corner in zip(starts, self.corner, strict=True))
        return mask[top : top + ends[0] - starts[0], left : left + ends[1] - starts[1]], (rows, columns)


@dataclass(frozen=True)
class Region:
    """The pixels of one object."""

    pixels: tuple[Points, ...] | RunLengths | Patch
    """Polygons, whose union it is, or a mask."""
    holes: tuple[Points, ...] = ()
    """Polygons that are cut out of polygons."""

    def area(self, border: PolygonBorder = "centers") -> float:
        """Its size in pixels; for several polygons their sum.

        Raises:
            ValueError: as `run_lengths`.
        """
        if isinstance(self.pixels, RunLengths):
            return float(run_lengths(self.pixels.counts)[1::2].sum())
        if isinstance(self.pixels, Patch):
            return float(self.pixels.runs[1::2].sum())
        return sum(polygon_pixels(points, border) for points in self.pixels) - sum(map(polygon_area, self.holes))

    @property
    def is_within_one_pixel(self) -> bool:
        """Whether all coordinates of its polygons lie between 0 and 1, as shares of a size do."""
        return not isinstance(self.pixels, RunLengths | Patch) and all(
            points.min() >= 0 and points.max() <= 1 for points in self.pixels
        )

    def places(self, shape: tuple[int, int], border: PolygonBorder) -> Iterator[tuple[BoolArray, tuple[slice, slice]]]:
        """Its parts in an image of (height, width): a mask, and the rows and columns that it covers.

        Raises:
            ValueError: run lengths of another size, or that do not fill it.
        """
        if isinstance(self.pixels, RunLengths):
            if self.pixels.shape != shape:  # before they ask for memory
                raise ValueError(f"its run lengths are of size {list(self.pixels.shape)}, the image of {list(shape)}")
            yield decode_run_lengths(*self.pixels), (slice(None), slice(None))
            return
        if isinstance(self.pixels, Patch):
            yield self.pixels.within(shape)
            return
        fill = fill_polygon if border == "centers" else fill_contour
        for points in self.pixels:
            inside, place = fill(points, shape)
            for hole in self.holes:
                cut = np.zeros(shape, dtype=np.bool_)
                opening, where = fill(hole, shape)
                cut[where] = opening
                inside &= ~cut[place]
            yield inside, place


def draw_regions(
    regions: Sequence[tuple[Region, int]],
    shape: tuple[int, int],
    background: int,
    border: PolygonBorder = "centers",
    in_order: bool = False,
) -> UInt8Array:
    """Paint regions: the larger before the smaller, of equal ones the earlier first.

    Small objects therefore stay visible on large ones, whatever the order of the annotations.

    Args:
        regions: each with its label.
        shape: (height, width) of the image.
        background: label of all other pixels.
        border: which pixels at their border belong to polygons.
        in_order: paint them as they come instead, for who knows what lies on what.

    Returns:
        (H, W) uint8 labels.

    Raises:
        ValueError: run lengths of another size, or that do not fill it.
    """
    labels = np.full(shape, background, dtype=np.uint8)
    for index in _order([region for region, _ in regions], border, in_order):
        region, label = regions[index]
        for inside, place in region.places(shape, border):
            labels[place][inside] = label
    return labels


def region_oddities(
    regions: Sequence[Region],
    ids: Sequence[str],
    shape: tuple[int, int],
    border: PolygonBorder,
    file: str,
    in_order: bool = False,
) -> list[Oddity]:
    """Oddities of a drawing: regions that show nowhere, or whose coordinates are shares of the size.

    Args:
        regions: as `draw_regions`.
        ids: what their file calls them.
        shape: (height, width) of the image.
        border: as `draw_regions`.
        file: theirs.
        in_order: as `draw_regions`.

    Raises:
        ValueError: as `draw_regions`.
    """
    owner = np.full(shape, -1, dtype=np.int32)
    drawn: set[int] = set()
    for index in _order(regions, border, in_order):
        for inside, place in regions[index].places(shape, border):
            owner[place][inside] = index
            if inside.any():
                drawn.add(index)
    seen = set(np.unique(owner).tolist())
    groups: dict[Kind, list[str]] = {"unscaled_annotation": [], "empty_annotation": [], "hidden_annotation": []}
    for index, region in enumerate(regions):
        if min(shape) > 1 and region.is_within_one_pixel:
            groups["unscaled_annotation"].append(ids[index])
        elif index not in seen:
            groups["hidden_annotation" if index in drawn else "empty_annotation"].append(ids[index])
    return [Oddity(kind, file, tuple(group)) for kind, group in groups.items() if group]


def _order(regions: Sequence[Region], border: PolygonBorder, in_order: bool) -> Sequence[int]:
    places = range(len(regions))
    return places if in_order else sorted(places, key=lambda index: -regions[index].area(border))
