"""Polygons in text files as Ultralytics writes them, one object a line: class x1 y1 x2 y2 …, drawn as labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from effiseg.data.classes import Classes
from effiseg.data.formats.base import MaskedImage, MaskKeys
from effiseg.data.formats.drawn import DrawnMasks
from effiseg.data.image_file import ImageHeader
from effiseg.data.label_drawing import Region, draw_regions, region_oddities
from effiseg.data.oddities import Oddity
from effiseg.data.orientation import turn_labels
from effiseg.data.reading import Labels
from effiseg.data.regular_file import AnyPath, read_data_text
from effiseg.errors import DataError


@dataclass(frozen=True, kw_only=True)
class YoloMasks(DrawnMasks):
    """A text file of polygons for each image."""

    name: ClassVar[str] = "yolo"
    fits_shards: ClassVar[bool] = True
    keys: ClassVar[tuple[str, ...]] = ("label_mapping", "background", "polygon_border")
    extensions: ClassVar[tuple[str, ...]] = (".txt",)
    where_missing: ClassVar[str | None] = "where nothing is to be seen, the file is empty"

    @classmethod
    def parse(cls, keys: MaskKeys) -> YoloMasks:
        """See `DrawnMasks`."""
        return cls(**cls.drawn_keys(keys))

    def read_stored(self, sample: MaskedImage, classes: Classes) -> None:
        """Shares of a size have no size."""

    def read(self, sample: MaskedImage, header: ImageHeader, classes: Classes) -> Labels:
        """The labels of a text file; an empty one is all background.

        Coordinates are shares of the image's width and height, upright, as tools show it, unless `orientation` says
        otherwise. Class numbers are indices of names, or what label_mapping makes of them. Larger polygons are drawn
        before smaller ones. Pixels of unlisted class numbers count overlaps again.

        Raises:
            DataError: the file cannot be read, or a line is no polygon of a known class.
        """
        mask, shape = sample.mask, self._shape(header)
        unlisted: Counter[int] = Counter()
        regions: list[tuple[Region, int]] = []
        for number, found, region in _regions(mask, shape):
            label = found if classes.label_mapping is None else classes.label_mapping.get(found)
            if label is None:
                unlisted[found] += round(region.area(self.border))
            elif classes.label_mapping is None and not 0 <= found < classes.num_classes:
                raise DataError(
                    f"{mask}: line {number} begins with a class, 0 to {classes.num_classes - 1}; found {found}; "
                    "correct it, add the class to names, or give the data set a label_mapping"
                )
            regions.append((region, classes.ignore_index if label is None else label))
        labels = draw_regions(regions, shape, self.background, self.border)
        return Labels(turn_labels(labels, header) if self.orientation == "stored" else labels, dict(unlisted))

    def oddities(self, sample: MaskedImage, header: ImageHeader) -> list[Oddity]:
        """Lines that end invisible or hold no pixel."""
        shape = self._shape(header)
        lines = list(_regions(sample.mask, shape))
        ids = [f"{Path(sample.mask).name} line {number}" for number, _, _ in lines]
        return region_oddities([region for *_, region in lines], ids, shape, self.border, str(Path(sample.mask).parent))

    def _shape(self, header: ImageHeader) -> tuple[int, int]:
        return header.stored_shape if self.orientation == "stored" else header.shape

    def content_key(self, classes: Classes) -> dict[str, Any]:
        """Class numbers are indices."""
        return {"classes": classes.num_classes, **self.drawing_key()}


def _regions(mask: AnyPath, shape: tuple[int, int]) -> Iterator[tuple[int, int, Region]]:
    """Number, class and polygon of every line, for an image of (height, width)."""
    size = np.array([shape[1], shape[0]], dtype=np.float32)
    for number, line in enumerate(read_data_text(mask, "mask").splitlines(), start=1):
        if line.strip():
            found, corners = _parse(mask, number, line)
            yield number, found, Region((corners * size,))


def _parse(path: AnyPath, number: int, line: str) -> tuple[int, np.ndarray[tuple[int, int], np.dtype[np.float32]]]:
    """The class and the corners (N, 2), shares of width and height, of a line."""
    words = line.split()
    try:
        found, values = _class_number(words[0]), np.array(words[1:], dtype=np.float32)
    except ValueError:
        found, values = 0, np.zeros(0, dtype=np.float32)
    if len(values) == 4:
        raise DataError(f"{path}: line {number} must hold a polygon; found a box, which says nothing of its pixels")
    if len(values) < 6 or len(values) % 2 or not np.isfinite(values).all():
        raise DataError(
            f"{path}: line {number} must be a class and at least three corners x y; found {line.strip()[:60]!r}"
        )
    if values.min() < -1 or values.max() > 2:
        raise DataError(
            f"{path}: line {number} must hold shares of the image's width and height, 0 to 1; found "
            f"{values.max():g}; divide pixels by the image's size"
        )
    return found, values.reshape(-1, 2)


def _class_number(word: str) -> int:
    """A whole number, also where a table wrote it as 0.0.

    Raises:
        ValueError: it is none.
    """
    try:
        return int(word)
    except ValueError:
        number = float(word)
        if not number.is_integer():
            raise
        return int(number)
