"""Masks of colors: every pixel's RGB looked up in the palette."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from effiseg.data.classes import Classes
from effiseg.data.folder_contents import FolderContents, Recognized
from effiseg.data.formats.base import MaskedImage, MaskFormat, MaskKeys
from effiseg.data.mask_errors import MaskColorError
from effiseg.data.reading import Labels, read_colors
from effiseg.data.regular_file import AnyPath
from effiseg.data.transforms import UInt8Array
from effiseg.data.yaml_values import Colour, colours
from effiseg.errors import DataError

_UNKNOWN = -1
_OTHERS = "others"


@dataclass(frozen=True, kw_only=True)
class ColorMasks(MaskFormat):
    """A PNG of the palette's colors."""

    name: ClassVar[str] = "color"
    fits_shards: ClassVar[bool] = True
    keys: ClassVar[tuple[str, ...]] = ("ignore_colors",)
    instead: ClassVar[str] = "palette and ignore_colors say what colours mean"

    ignored: tuple[Colour, ...] = ()
    """RGB colors that are ignored."""
    ignores_others: bool = False
    """Whether every color that is not in the palette is ignored instead of refused."""

    @classmethod
    def parse(cls, keys: MaskKeys) -> ColorMasks:
        """Also checks that every color of the palette means one class."""
        source = keys.source
        written = keys.values.get("palette")
        if not isinstance(written, list):
            raise DataError(f"{source}: mask_format color needs palette, the RGB colour of every class; found none")
        value = keys.values.get("ignore_colors", [])
        others = value == _OTHERS
        if others:
            value = []
        if not isinstance(value, list):
            raise DataError(f"{source}: ignore_colors must list colours, or be {_OTHERS}; found {value!r}")
        ignored = colours(source, "ignore_colors", value)
        seen: set[Colour] = set()
        for color in [*colours(source, "palette", written), *ignored]:
            if color in seen:
                raise DataError(
                    f"{source}: with mask_format color a colour has one meaning; found {list(color)} twice in palette "
                    "and ignore_colors"
                )
            seen.add(color)
        return cls(ignored=ignored, ignores_others=others, orientation=keys.orientation)

    @classmethod
    def recognize(cls, contents: FolderContents) -> Recognized | None:
        """CVAT's "Segmentation mask 1.1": colors that a table names."""
        for file in contents.named("labelmap.txt"):
            lines = [line for line in contents.head(file).splitlines() if line.strip() and not line.startswith("#")]
            rows = [re.match(r"([^:]+):(\d+),(\d+),(\d+):", line) for line in lines]
            found = {row[1]: [int(row[place]) for place in (2, 3, 4)] for row in rows if row}
            if len(found) < 2 or len(found) < len(lines):
                continue
            lists = [str(each) for each in contents.named(".txt") if each.parent.name == "Segmentation"]
            folders = {"images_dir": "JPEGImages", "masks_dir": "SegmentationClass"}
            keys = {"mask_format": cls.name, "train": lists[0] if lists else folders["images_dir"], **folders}
            named = {"names": list(found), "palette": list(found.values())}
            return Recognized("CVAT's Segmentation mask 1.1 (labelmap.txt)", {**keys, **named})
        return None

    def read_stored(self, sample: MaskedImage, classes: Classes) -> Labels:
        """Only the very colors of the palette count.

        Raises:
            MaskColorError: colors that the data set's description does not know; the most frequent ones are named.
        """
        pixels = read_colors(sample.mask)
        codes = pixels[..., 0].astype(np.int32) << 16 | pixels[..., 1].astype(np.int32) << 8 | pixels[..., 2]
        found = _table(classes.palette, self.ignored, classes.ignore_index)[codes]
        unknown = found == _UNKNOWN
        if unknown.any():
            if not self.ignores_others:
                raise _foreign_colors_error(codes[unknown], classes.source, sample.mask)
            found[unknown] = classes.ignore_index
        labels: UInt8Array = found.astype(np.uint8)
        return Labels(labels, {})

    def content_key(self, classes: Classes) -> dict[str, Any]:
        """A color means a class."""
        return {"palette": classes.palette, "ignored": self.ignored, "ignores_others": self.ignores_others}


@lru_cache(maxsize=2)
def _table(palette: tuple[Colour, ...], ignored: tuple[Colour, ...], ignore_index: int) -> npt.NDArray[np.int16]:
    """(2²⁴,) label of every colour, red in the high byte: 32 MB, made once in a process, one look a pixel."""
    table = np.full(1 << 24, _UNKNOWN, dtype=np.int16)
    for label, (red, green, blue) in [*enumerate(palette), *((ignore_index, colour) for colour in ignored)]:
        table[red << 16 | green << 8 | blue] = label
    return table


def _foreign_colors_error(codes: npt.NDArray[np.int32], source: Path, path: AnyPath) -> DataError:
    values, counts = np.unique(codes, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:4]
    shown = ", ".join(
        f"[{code >> 16}, {code >> 8 & 255}, {code & 255}] ({count} pixels)"
        for code, count in zip(values[most].tolist(), counts[most].tolist(), strict=True)
    )
    more = f" and {len(values) - len(most)} more colours" if len(values) > len(most) else ""
    cause = "; a mask that was resized or saved as JPEG has mixed colours" if len(values) > 32 else ""
    return MaskColorError(
        f"{path}: every colour of a mask must be in palette or ignore_colors of {source}; found {shown}{more} "
        f"(add them, or write ignore_colors: others){cause}"
    )
