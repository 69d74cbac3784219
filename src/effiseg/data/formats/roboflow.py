"""Semantic masks of Roboflow: PNGs of pixel values beside the images, whose meaning `_classes.csv` tells.

The format: what Roboflow calls "Semantic Segmentation Masks": `a.jpg`, `a_mask.png` and one `_classes.csv` a folder.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from effiseg.data.annotation_file import parse_once, read_annotations
from effiseg.data.classes import Classes
from effiseg.data.folder_contents import FolderContents, Recognized
from effiseg.data.formats.base import MaskedImage, MaskFormat, MaskKeys
from effiseg.data.formats.drawn import parse_labels, unnamed_label
from effiseg.data.mask_errors import AnnotationError
from effiseg.data.reading import Labels, map_labels, read_raw_mask
from effiseg.errors import DataError

CLASSES_FILE = "_classes.csv"


@dataclass(frozen=True, kw_only=True)
class RoboflowMasks(MaskFormat):
    """PNGs of pixel values, which a table in each folder names."""

    name: ClassVar[str] = "roboflow"
    keys: ClassVar[tuple[str, ...]] = ("labels",)
    instead: ClassVar[str] = f"{CLASSES_FILE} says what pixel values mean, and labels what its names mean"
    lies_beside: ClassVar[bool] = True
    mask_endings: ClassVar[tuple[str, ...]] = ("_mask.png",)
    where_missing: ClassVar[str | None] = "Roboflow's export Semantic Segmentation Masks holds one beside every image"

    labels: dict[str, int] = field(default_factory=dict)
    """Name in the table → class or ignore_index."""

    @classmethod
    def parse(cls, keys: MaskKeys) -> RoboflowMasks:
        """See `parse_labels`."""
        return cls(labels=parse_labels(keys), orientation=keys.orientation)

    @classmethod
    def recognize(cls, contents: FolderContents) -> Recognized | None:
        """A table of classes in a folder of each split."""
        tables = [file for file in contents.files if file.name == CLASSES_FILE]
        if not tables:
            return None
        rows = [line.split(",", 1) for file in tables for line in contents.head(file).splitlines()[1:]]
        splits = {split: str(PurePosixPath(file).parent) for split, file in contents.of_splits(tables).items()}
        names = dict.fromkeys(row[1].strip() for row in rows if len(row) == 2)
        return Recognized("masks of Roboflow", {"mask_format": cls.name, **splits, "names": list(names)})

    def mask_names(self, image: str, stem: str, suffix: str) -> list[str]:
        """`a_mask.png` of `a.jpg`."""
        return super().mask_names(image, stem, suffix or self.mask_endings[0])

    def files_beside(self, mask: Path) -> tuple[Path, ...]:
        """The table."""
        return (mask.parent / CLASSES_FILE,)

    def read_stored(self, sample: MaskedImage, classes: Classes) -> Labels:
        """The classes that the names of the table mean.

        Raises:
            DataError: the table or the mask cannot be read, or one of them holds what means nothing.
        """
        file = Path(sample.mask).parent / CLASSES_FILE
        table = parse_once(read_class_table, file)
        for value, name in table.items():
            if name not in self.labels:
                raise unnamed_label(f"{file}: the class {name!r} (value {value})", name)
        mapping = {value: self.labels[name] for value, name in table.items()}
        found = map_labels(read_raw_mask(sample.mask), replace(classes, label_mapping=mapping), sample.mask)
        if found.unlisted:
            values = ", ".join(map(str, list(found.unlisted)[:8]))
            raise DataError(f"{sample.mask}: mask values must stand in {file}; found {values}; export the set again")
        return found

    def content_key(self, classes: Classes) -> dict[str, Any]:
        """Names of the table mean classes; the table itself is one of a sample's files."""
        return {"labels": sorted(self.labels.items())}


def read_class_table(file: str) -> dict[int, str]:
    """Pixel value → name of a `_classes.csv`.

    Raises:
        AnnotationError: it cannot be read, or is no such table.
    """
    text = read_annotations(file).decode("utf-8-sig", errors="replace")
    table: dict[int, str] = {}
    for number, row in enumerate(csv.reader(text.splitlines()), start=1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or (number == 1 and not cells[0].isdigit()):
            continue
        if len(cells) != 2 or not cells[0].isdigit() or len(cells[0]) > 9 or not cells[1]:
            raise AnnotationError(
                f"{file}: line {number} must be a pixel value and a class; found {','.join(row)[:60]!r}"
            )
        if table.setdefault(int(cells[0]), cells[1]) != cells[1]:
            raise AnnotationError(f"{file}: a pixel value means one class; found {cells[0]} again in line {number}")
    if not table:
        raise AnnotationError(f"{file}: must list pixel values and classes; found none")
    return table
