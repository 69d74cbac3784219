"""Masks of colours: every pixel's RGB looked up in the palette."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.transforms import UInt8Array
from effiseg.data.yaml_values import Colour
from effiseg.errors import DataError

_UNKNOWN = -1


def labels_of_colours(pixels: UInt8Array, spec: DatasetSpec, path: str | Path) -> UInt8Array:
    """Colours → classes; only the very colours of the palette count.

    Args:
        pixels: (H, W, 3) RGB.
        spec: the data set; its palette, and the colours that it ignores.
        path: the mask's file, for the error.

    Returns:
        (H, W) uint8 class index or ignore_index.

    Raises:
        DataError: colours that the data set's description does not know; the most frequent ones are named.
    """
    codes = pixels[..., 0].astype(np.int32) << 16 | pixels[..., 1].astype(np.int32) << 8 | pixels[..., 2]
    table = _table(spec.palette, spec.masks.ignored_colours, spec.ignore_index)
    found = table[codes]
    unknown = found == _UNKNOWN
    if unknown.any():
        if not spec.masks.ignores_other_colours:
            raise _foreign_colours_error(codes[unknown], spec, path)
        found[unknown] = spec.ignore_index
    labels: UInt8Array = found.astype(np.uint8)
    return labels


@lru_cache(maxsize=2)
def _table(palette: tuple[Colour, ...], ignored: tuple[Colour, ...], ignore_index: int) -> npt.NDArray[np.int16]:
    """(2²⁴,) label of every colour, red in the high byte: 32 MB, made once in a process, one look a pixel."""
    table = np.full(1 << 24, _UNKNOWN, dtype=np.int16)
    for label, (red, green, blue) in [*enumerate(palette), *((ignore_index, colour) for colour in ignored)]:
        table[red << 16 | green << 8 | blue] = label
    return table


def _foreign_colours_error(codes: npt.NDArray[np.int32], spec: DatasetSpec, path: str | Path) -> DataError:
    values, counts = np.unique(codes, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:4]
    shown = ", ".join(
        f"[{code >> 16}, {code >> 8 & 255}, {code & 255}] ({count} pixels)"
        for code, count in zip(values[most].tolist(), counts[most].tolist(), strict=True)
    )
    more = f" and {len(values) - len(most)} more colours" if len(values) > len(most) else ""
    cause = "; a mask that was resized or saved as JPEG has mixed colours" if len(values) > 32 else ""
    return DataError(
        f"{path}: every colour of a mask must be in palette or ignore_colors of {spec.source}; found {shown}{more} "
        f"(add them, or write ignore_colors: others){cause}"
    )
