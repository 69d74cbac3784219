"""A prediction: labels, and the pictures and numbers that follow from them."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from effiseg.errors import UsageError
from effiseg.files import atomic_path
from effiseg.visualization.label_colours import UInt8Array, colour_map, overlay

Float16Array = npt.NDArray[np.float16]
_SHOWN_SIDE = 640


@dataclass(frozen=True, eq=False)
class Probabilities:
    """How sure the network is, at the size it answers in: a quarter of its input's, or an eighth."""

    values: Float16Array
    """(K, h, w) float16, 0..1; the classes of a cell sum to 1."""
    extent: tuple[float, float]
    """The image's (height, width) in cells. Row y of an image of H rows lies at (y + 0.5)·extent[0]/H - 0.5."""


@dataclass(frozen=True, eq=False, repr=False)
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

    @property
    def path(self) -> Path | None:
        """The image's file, where it came from one."""
        return None if self.source is None else Path(self.source)

    def plot(self, opacity: float = 0.5) -> UInt8Array:
        """`overlay`, under the name of other software."""
        return self.overlay(opacity)

    def save(self, file: str | os.PathLike[str], opacity: float = 0.5) -> Path:
        """Write the overlay as a picture; its suffix says the format.

        Args:
            file: the picture; its folder is made where it is missing.
            opacity: 0 shows the image, 1 the colours.

        Raises:
            UsageError: a suffix that Pillow cannot write.
            ResourceError: it cannot be written.
        """
        path = Path(file)
        form = Image.registered_extensions().get(path.suffix.lower())
        if form is None:
            raise UsageError(f"{path}: must end as a picture, for example in .png or .jpg")
        with atomic_path(path) as temporary:
            Image.fromarray(self.overlay(opacity)).save(temporary, format=form)
        return path

    def show(self, opacity: float = 0.5) -> None:
        """Open the overlay in the system's viewer of pictures; in a notebook it is shown there."""
        Image.fromarray(self.overlay(opacity)).show()

    def _repr_png_(self) -> bytes:
        """The overlay with a longest side of 640 pixels, for notebooks."""
        picture = Image.fromarray(self.overlay())
        picture.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE))
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        return stream.getvalue()

    def __repr__(self) -> str:
        areas = sorted(((share, name) for name, share in self.areas().items()), reverse=True)[:3]
        found = ", ".join(f"{name} {100 * share:.0f} %" for share, name in areas if share)
        height, width = self.labels.shape
        return f"Segmentation({'' if self.source is None else f'{self.source}, '}{height}x{width}: {found})"

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
