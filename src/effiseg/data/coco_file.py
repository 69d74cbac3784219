"""Annotations in COCO's JSON format, polygons and run lengths, read and checked.

The format: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from effiseg.data.annotation_file import complaint, parse_once, read_json_annotations
from effiseg.data.image_file import pixel_limit
from effiseg.data.label_drawing import Region, RunLengths
from effiseg.data.listed_names import ListedName, parse_name
from effiseg.data.mask_errors import AnnotationError
from effiseg.data.yaml_values import is_integer

Id = int | str
"""A number that a COCO file gives to an image, category or annotation; some tools write text."""


class CocoImage(NamedTuple):
    """An image as a COCO file lists it."""

    id: Id
    """The file's number for it."""
    name: ListedName
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
    images: dict[Id, CocoImage]
    """Number of an image → the image."""
    regions: Mapping[Id, list[CocoRegion]]
    """Number of an image → its annotations in the file's order."""

    @property
    def orphans(self) -> list[str]:
        """Numbers of the annotations of images that are not listed."""
        return [str(region.id) for image, regions in self.regions.items() if image not in self.images
                for region in regions]  # fmt: skip


def load_annotations(file: str | Path, least_corners: int = 3) -> CocoAnnotations:
    """A COCO file, parsed once in a process for as long as it does not change.

    Args:
        file: the JSON file.
        least_corners: fewest corners of a polygon.

    Raises:
        AnnotationError: it cannot be read, or is not of that format.
    """
    return parse_once(_load, file, least_corners)


def _load(file: str, least_corners: int) -> CocoAnnotations:
    content = read_json_annotations(file)
    parts = [content.get(key) if isinstance(content, dict) else None for key in ("images", "annotations", "categories")]
    if not all(isinstance(part, list) for part in parts):
        raise AnnotationError(f"{file}: a COCO file holds the lists images, annotations and categories; found others")
    images: dict[Id, CocoImage] = {}
    names: set[str] = set()
    for entry in parts[0] or []:
        record = _image(file, entry)
        if record.name.path in names or record.id in images:
            found = f"{record.name.path!r} (id {record.id})"
            raise AnnotationError(f"{file}: an image is listed once; found {found} again")
        names.add(record.name.path)
        images[record.id] = record
    regions: dict[Id, list[CocoRegion]] = defaultdict(list)
    for entry in parts[1] or []:
        number, region = _region(file, entry, images, least_corners)
        regions[number].append(region)
    return CocoAnnotations(file, _categories(file, parts[2] or []), images, regions)


def _image(file: str, entry: Any) -> CocoImage:
    match entry:
        case {"id": number, "file_name": str(name), "height": height, "width": width}:
            number, height, width, parsed = _id(number), _id(height), _id(width), parse_name(name)
            if number is not None and parsed is not None and is_integer(height) and is_integer(width):
                if height * width > pixel_limit():
                    raise complaint(file, f"an image has at most {pixel_limit()} pixels", entry)
                if height > 0 and width > 0:
                    return CocoImage(number, parsed, (height, width))
    raise complaint(file, "an image has id, file_name, height and width", entry)


def _categories(file: str, entries: list[Any]) -> dict[int, str]:
    categories: dict[int, str] = {}
    for entry in entries:
        match entry:
            case {"id": number, "name": str(name)} if is_integer(number := _id(number)):
                if categories.setdefault(number, name) != name:
                    rule = f"a category has one name; {number} is called {categories[number]!r} too"
                    raise complaint(file, rule, entry)
            case _:
                raise complaint(file, "a category has id, a number, and name", entry)
    return categories


def _region(file: str, entry: Any, images: Mapping[Id, CocoImage], least_corners: int) -> tuple[Id, CocoRegion]:
    """The image's number and the annotation; corners become arrays, a tenth of the size of lists."""
    match entry:
        case {"image_id": image, "category_id": category, "segmentation": segmentation}:
            number, category = _id(image), _id(category)
            region = None if number is None else _pixels(file, entry, segmentation, images.get(number), least_corners)
            if number is not None and is_integer(category) and region is not None:
                return number, CocoRegion(entry.get("id"), category, region)
    raise complaint(file, "an annotation has image_id, category_id, segmentation (polygons or runs)", entry)


def _pixels(file: str, entry: Any, segmentation: Any, image: CocoImage | None, least_corners: int) -> Region | None:
    """The pixels of an annotation; None where it is of no known form."""
    match segmentation:
        case list() as polygons if polygons:
            try:
                numbers = [np.array(polygon, dtype=np.float64).reshape(-1) for polygon in polygons]
            except (ValueError, TypeError, OverflowError):
                raise complaint(file, "a polygon is a flat list of x and y in turns", entry) from None
            for polygon, flat in zip(polygons, numbers, strict=True):
                if image is not None and _looks_like_runs(flat, image.shape):
                    raise complaint(
                        file, 'run lengths are {"counts": …, "size": [height, width]}, not a polygon', entry
                    )
                if not isinstance(polygon, list) or len(flat) != len(polygon) or len(flat) % 2:
                    raise complaint(file, "a polygon is a flat list of x and y in turns", entry)
                if len(flat) < 2 * least_corners:
                    rule = f"a polygon has at least {least_corners} corners, {2 * least_corners} numbers"
                    raise complaint(file, rule, entry)
                if not np.isfinite(flat).all():
                    raise complaint(file, "a polygon's coordinates are finite", entry)
            return Region(tuple(flat.reshape(-1, 2).astype(np.float32) for flat in numbers))
        case {"counts": list() | str() as counts, "size": [height, width]} if is_integer(height) and is_integer(width):
            if isinstance(counts, str) or all(map(is_integer, counts)):
                try:
                    packed = counts if isinstance(counts, str) else np.array(counts, dtype=np.int64)
                except OverflowError:
                    raise complaint(file, "the runs fill the image", entry) from None
                return Region(RunLengths(packed, (height, width)))
    return None


def _looks_like_runs(numbers: np.ndarray[Any, np.dtype[np.float64]], shape: tuple[int, int]) -> bool:
    """Whether what stands for a polygon is run lengths: whole numbers that fill the image, and leave it as points."""
    height, width = shape
    if not len(numbers) or numbers.sum() != height * width or (numbers != np.floor(numbers)).any() or numbers.min() < 0:
        return False
    return bool(len(numbers) % 2 or len(numbers) < 6 or numbers[0::2].max() > width or numbers[1::2].max() > height)


def _id(value: Any) -> Any:
    """A number, also where a tool wrote it as text or 3.0; other text stays; None for what cannot be one."""
    match value:
        case bool():
            return None
        case int():
            return value
        case float() if value.is_integer():
            return int(value)
        case str():
            return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else value
        case _:
            return None
