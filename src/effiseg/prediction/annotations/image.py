"""The outlines of one image, as every format of annotations takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from effiseg.inference.segmentation import Segmentation
from effiseg.prediction.outlines import Corners, Outline, trace_outlines

DECIMALS = 3
"""Of coordinates in pixels; see `EXACT_TOLERANCE`."""


@dataclass(frozen=True)
class AnnotatedImage:
    """An image with the outlines of its regions."""

    name: str
    """Its file's name, with folders below the source."""
    shape: tuple[int, int]
    """(height, width)."""
    outlines: Sequence[Outline]
    """Those that hold others before these: painted in this order, outer lines alone are the labels."""

    @classmethod
    def of(cls, name: str, segmentation: Segmentation, tolerance: float, least_area: int) -> AnnotatedImage:
        """The outlines of a prediction; arguments as `trace_outlines`."""
        labels = segmentation.labels
        return cls(name, (labels.shape[0], labels.shape[1]), trace_outlines(labels, tolerance, least_area))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "size": list(self.shape),
            "regions": [
                {
                    "label": one.label,
                    "area": one.area,
                    "outer": pairs(one.outer),
                    "holes": [pairs(hole) for hole in one.holes],
                }
                for one in self.outlines
            ],
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> AnnotatedImage:
        """What `to_dict` made."""
        outlines = [
            Outline(one["label"], _corners(one["outer"]), [_corners(hole) for hole in one["holes"]], one["area"])
            for one in value["regions"]
        ]
        return cls(value["name"], (value["size"][0], value["size"][1]), outlines)


def pairs(corners: Corners) -> list[list[float]]:
    """[x, y] of each corner, in pixels."""
    return [[round(x, DECIMALS), round(y, DECIMALS)] for x, y in corners.tolist()]


def _corners(values: list[list[float]]) -> Corners:
    return np.array(values, dtype=np.float32)
