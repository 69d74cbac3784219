"""The names of classes beside their colors, as a strip that goes under a picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from effiseg.errors import printable
from effiseg.visualization.label_colours import UInt8Array
from effiseg.visualization.palettes import Colour

_SIZE = 13
_LINE = 20
_GAP = 8
_PAPER, _INK = (255, 255, 255), (20, 20, 20)


@lru_cache(maxsize=16)
def legend_strip(width: int, entries: tuple[tuple[str, Colour], ...]) -> UInt8Array:
    """A white strip with a square of color before each text, in as many lines as they need.

    Args:
        width: pixels; a text that is wider is cut off.
        entries: text and RGB color of each class.

    Returns:
        (h, width, 3) uint8, h an even number.
    """
    font = ImageFont.truetype(str(_font_file()), _SIZE)
    places: list[tuple[int, int]] = []
    x, y = _GAP, 0
    for text, _ in entries:
        wide = _SIZE + 5 + round(font.getlength(printable(text)))
        if x > _GAP and x + wide > width - _GAP:
            x, y = _GAP, y + _LINE
        places.append((x, y))
        x += wide + 2 * _GAP
    strip = Image.new("RGB", (width, y + _LINE + _GAP), _PAPER)
    draw = ImageDraw.Draw(strip)
    for (text, color), (left, top) in zip(entries, places, strict=True):
        draw.rectangle((left, top + 8, left + _SIZE - 2, top + 6 + _SIZE), fill=color, outline=_INK)
        draw.text((left + _SIZE + 5, top + 6), printable(text), fill=_INK, font=font)
    return np.asarray(strip, np.uint8)


def area_entries(
    areas: dict[str, float], palette: Sequence[Colour], least: float = 0.001
) -> tuple[tuple[str, Colour], ...]:
    """The classes of a picture with their shares, the largest first.

    Args:
        areas: class → share of the pixels, 0..1, in the order of the palette.
        palette: RGB colors.
        least: classes of a smaller share are left out.
    """
    found = [
        (share, name, color) for (name, share), color in zip(areas.items(), palette, strict=True) if share >= least
    ]
    found.sort(key=lambda each: -each[0])
    return tuple(
        (f"{name} {100 * share:.0f} %" if share >= 0.01 else f"{name} < 1 %", color) for share, name, color in found
    )


def _font_file() -> Path:
    """DejaVu Sans, which comes with matplotlib and knows most scripts."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
