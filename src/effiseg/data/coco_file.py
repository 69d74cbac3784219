"""Annotations in COCO's JSON format, polygons and run lengths, read and checked.

The format: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from effiseg.data.label_drawing import Region, RunLengths
from effiseg.data.yaml_values import is_integer
from effiseg.errors import DataError


class CocoImage(NamedTuple):
    """An image as a COCO file lists it."""

    id: int
    """The file's number for it."""
    file_name: str
    """Its name, with folders perhaps."""
    shape: tuple[int, int]
    """(height, width)."""


class CocoRegion(NamedTuple):
    """One annotation."""

    id: object
    """The file's number for it, for errors."""
    category: int
    """Its category's number."""
    region: Region
    """Its pixels."""


@dataclass(frozen=True)
class CocoAnnotations:
    """A COCO file."""

    source: str
    """The file."""
    categories: dict[int, str]
    """Number of a category → its name."""
    regions: Mapping[int, list[CocoRegion]]
    """Number of an image → its annotations in the file's order."""
    by_name: dict[str, CocoImage]
    """file_name → image."""
    by_last_name: dict[str, CocoImage]
    """The last part of file_name → image, where that is unique."""

    def find(self, image: str | Path) -> CocoImage | None:
        """The record of an image file: the one whose file_name is the longest end of its path.

        Failing that, the one whose file_name has the same last part, if it is the only one.
        """
        parts = Path(image).parts
        for start in range(len(parts)):
            record = self.by_name.get("/".join(parts[start:]))
            if record is not None:
                return record
        return self.by_last_name.get(parts[-1])


def load_annotations(file: str | Path) -> CocoAnnotations:
    """A COCO file, parsed once in a process for as long as it does not change.

    Raises:
        DataError: it cannot be read, or is not of that format.
    """
    try:
        state = os.stat(file)  # noqa: PTH116 - for every image
    except OSError as error:
        raise DataError(f"{file}: annotations cannot be read ({error.strerror})") from None
    return _load(str(file), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _load(file: str, _changed: int, _size: int) -> CocoAnnotations:
    try:
        with open(file, "rb") as stream:  # noqa: PTH123 - paths are strings here
            content = json.load(stream)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{file}: annotations cannot be read as JSON ({error})") from None
    parts = [content.get(key) if isinstance(content, dict) else None for key in ("images", "annotations", "categories")]
    if not all(isinstance(part, list) for part in parts):
        raise DataError(f"{file}: a COCO file holds the lists images, annotations and categories; found others")
    by_name: dict[str, CocoImage] = {}
    numbers: set[int] = set()
    for entry in parts[0] or []:
        record = _image(file, entry)
        if record.file_name in by_name or record.id in numbers:
            raise DataError(f"{file}: an image is listed once; found {record.file_name!r} (id {record.id}) again")
        by_name[record.file_name] = record
        numbers.add(record.id)
    last_names = Counter(PurePosixPath(name).name for name in by_name)
    regions: dict[int, list[CocoRegion]] = defaultdict(list)
    for entry in parts[1] or []:
        number, region = _region(file, entry)
        regions[number].append(region)
    return CocoAnnotations(
        source=file,
        categories=dict(_category(file, entry) for entry in parts[2] or []),
        regions=regions,
        by_name=by_name,
        by_last_name={
            last: record for name, record in by_name.items() if last_names[last := PurePosixPath(name).name] == 1
        },
    )


def _image(file: str, entry: Any) -> CocoImage:
    match entry:
        case {"id": int(number), "file_name": str(name), "height": int(height), "width": int(width)}:
            name = str(PurePosixPath(name.replace("\\", "/")))
            if height > 0 and width > 0 and PurePosixPath(name).name:
                return CocoImage(number, name, (height, width))
    raise _complaint(file, "an image has id, file_name, height and width", entry)


def _category(file: str, entry: Any) -> tuple[int, str]:
    match entry:
        case {"id": int(number), "name": str(name)}:
            return number, name
    raise _complaint(file, "a category has id and name", entry)


def _region(file: str, entry: Any) -> tuple[int, CocoRegion]:
    """The image's number and the annotation; corners become arrays, a tenth of the size of lists."""
    match entry:
        case {"image_id": int(image), "category_id": int(category), "segmentation": list(polygons)} if polygons:
            try:
                corners = tuple(np.array(polygon, dtype=np.float32).reshape(-1, 2) for polygon in polygons)
            except (ValueError, TypeError):
                raise _complaint(file, "a polygon is a flat list of x and y in turns", entry) from None
            if not all(np.isfinite(polygon).all() for polygon in corners):
                raise _complaint(file, "a polygon's coordinates are finite", entry)
            shape: Region = Region(corners, bool(entry.get("iscrowd", 0)))
        case {
            "image_id": int(image),
            "category_id": int(category),
            "segmentation": {"counts": list() | str() as counts, "size": [int(height), int(width)]},
        } if isinstance(counts, str) or all(map(is_integer, counts)):
            packed = counts if isinstance(counts, str) else np.array(counts, dtype=np.int64)
            shape = Region(RunLengths(packed, (height, width)), bool(entry.get("iscrowd", 0)))
        case _:
            raise _complaint(file, "an annotation has image_id, category_id, segmentation (polygons or runs)", entry)
    return image, CocoRegion(entry.get("id"), category, shape)


def _complaint(file: str, rule: str, entry: Any) -> DataError:
    """The error for an entry of the file."""
    shown = json.dumps(entry, ensure_ascii=False)
    return DataError(f"{file}: {rule}; found {shown[:100] + '…' if len(shown) > 100 else shown}")
