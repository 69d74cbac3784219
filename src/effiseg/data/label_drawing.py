"""Labels from regions: polygons and run lengths, painted over each other in one order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from effiseg.data.polygons import Points, fill_polygon, polygon_area
from effiseg.data.run_lengths import decode_run_lengths
from effiseg.data.transforms import UInt8Array

DRAWING_RULES = 2
"""Version of the order and of the border rule: labels drawn by another are not served from a cache."""


class RunLengths(NamedTuple):
    """A mask as run lengths."""

    counts: str | npt.NDArray[np.int64]
    """As `decode_run_lengths` takes them."""
    shape: tuple[int, int]
    """(height, width) of the mask."""


@dataclass(frozen=True)
class Region:
    """The pixels of one object."""

    pixels: tuple[Points, ...] | RunLengths
    """Polygons, whose union it is, or a mask."""
    is_crowd: bool = False
    """A group of objects, coarsely outlined."""

    def area(self) -> float:
        """Its size in pixels; for several polygons their sum.

        Raises:
            ValueError: as `decode_run_lengths`.
        """
        if isinstance(self.pixels, RunLengths):
            return float(np.count_nonzero(decode_run_lengths(*self.pixels)))
        return sum(polygon_area(points) for points in self.pixels)


def draw_regions(regions: Iterable[tuple[Region, int]], shape: tuple[int, int], background: int) -> UInt8Array:
    """Paint regions: crowds first, then the larger before the smaller, of equal ones the earlier first.

    Small objects therefore stay visible on large ones, whatever the order of the annotations.

    Args:
        regions: each with its label.
        shape: (height, width) of the image.
        background: label of all other pixels.

    Returns:
        (H, W) uint8 labels.

    Raises:
        ValueError: run lengths of another size, or that do not fill it.
    """
    labels = np.full(shape, background, dtype=np.uint8)
    for region, label in sorted(regions, key=lambda pair: (not pair[0].is_crowd, -pair[0].area())):
        if isinstance(region.pixels, RunLengths):
            if region.pixels.shape != shape:
                raise ValueError(f"its run lengths are of size {list(region.pixels.shape)}, the image of {list(shape)}")
            labels[decode_run_lengths(*region.pixels)] = label
        else:
            for points in region.pixels:
                inside, place = fill_polygon(points, shape)
                labels[place][inside] = label
    return labels
