"""A prediction: labels, and the pictures and numbers that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from effiseg.visualization.label_colours import UInt8Array, colour_map, overlay

Float16Array = npt.NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class Probabilities:
    """How sure the network is, at the size it answers in: a quarter of its input's, or an eighth."""

    values: Float16Array
    """(K, h, w) float16, 0..1; the classes of a cell sum to 1."""
    extent: tuple[float, float]
    """The image's (height, width) in cells. Row y of an image of H rows lies at (y + 0.5)·extent[0]/H - 0.5."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The classes of every pixel of one image."""

    labels: UInt8Array
    """(H, W) uint8 class indices, at the image's own size."""
    image: UInt8Array
    """(H, W, 3) uint8 RGB, what was predicted."""
    names: Sequence[str]
    """Class names in the order of their indices."""
    palette: Sequence[tuple[int, int, int]]
    """One RGB colour a class, 0..255."""
    source: str | None = None
    """The image's file, where it came from one."""
    probabilities: Probabilities | None = None
    """Where the predictor was asked for them."""

    def color(self) -> UInt8Array:
        """Every pixel in its class's colour, (H, W, 3) uint8 RGB."""
        return colour_map(self.labels, self.palette)

    def overlay(self, opacity: float = 0.5) -> UInt8Array:
        """The image with the colours of its classes laid over it.

        Args:
            opacity: 0 shows the image, 1 the colours.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        return overlay(self.image, self.labels, self.palette, opacity)

    def areas(self) -> dict[str, float]:
        """Class name → its share of the image's pixels, 0..1, in the order of the classes; they sum to 1."""
        counts = np.bincount(self.labels.reshape(-1), minlength=len(self.names))
        return {name: count / self.labels.size for name, count in zip(self.names, counts.tolist(), strict=True)}
