"""Palette PNGs whose colors say that their numbers mean nothing.

A program that saves colors as a palette PNG numbers them as they come, anew in every mask. Read as class indices, all
pixels are wrong, and no value is foreign.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from effiseg.data.classes import Classes
from effiseg.data.image_file import open_image
from effiseg.data.regular_file import AnyPath
from effiseg.data.yaml_values import Colour

Palette = Mapping[int, Colour]
"""Index → its RGB color, of the indices that a mask holds."""


def used_palette(path: AnyPath) -> Palette:
    """The colors of the indices that a mask holds; empty where it has no palette.

    Raises:
        DataError: the file cannot be read.
    """
    with open_image(path, "mask") as file:
        if file.mode != "P":
            return {}
        file.load()
        colors = np.frombuffer(bytes(file.getpalette("RGB") or b""), np.uint8).reshape(-1, 3).tolist()
        used = np.flatnonzero(np.bincount(np.asarray(file).reshape(-1), minlength=256)).tolist()
    return {index: (colors[index][0], colors[index][1], colors[index][2]) for index in used if index < len(colors)}


def palette_conflict(classes: Classes, palettes: Iterable[tuple[AnyPath, Palette]]) -> str | None:
    """One line about masks whose palettes contradict each other or the description; None where none do.

    Args:
        classes: its palette counts where it was written.
        palettes: masks and what `used_palette` says of them.
    """
    first: dict[int, tuple[Colour, AnyPath]] = {}
    for path, palette in palettes:
        for index, color in palette.items():
            known, earlier = first.setdefault(index, (color, path))
            if known != color:
                found = f"{list(color)} against {list(known)} in {earlier}"
                return f"{path}: masks that hold class indices give index {index} one colour; found {found}; {_ADVICE}"
            label = index if classes.label_mapping is None else classes.label_mapping.get(index)
            if classes.palette_is_written and (other := _class_of(color, label, classes)) is not None:
                found = f"that of {other}, {list(color)}"
                return (
                    f"{path}: index {index} has its class's colour of the palette in {classes.source}; found {found}; "
                    f"{_ADVICE}"
                )
    return None


_ADVICE = (
    "if the colours are what counts, set mask_format: color and palette; if the indices are, write mask_format: index"
)


def _class_of(color: Colour, label: int | None, classes: Classes) -> str | None:
    """The class whose color it is, where it is another's than the label's."""
    owners = [index for index, known in enumerate(classes.palette) if known == color]
    return None if label is None or label in owners or not owners else repr(classes.names[owners[0]])
