"""Annotations of Datumaro, as its projects and Geti 2 hold them: one JSON file of items for each subset.

The format: https://open-edge-platform.github.io/datumaro/stable/docs/data-formats/formats/datumaro.html.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from effiseg.data.annotation_file import (
    complaint,
    ellipse,
    parse_corners,
    parse_once,
    parse_size,
    read_json_annotations,
    rectangle,
    text_of,
)
from effiseg.data.formats.base import MaskedImage
from effiseg.data.formats.drawn import Drawing, NamedShape, NamedShapeMasks, in_z_order
from effiseg.data.formats.shared_file import ListedImage, SharedFileMasks
from effiseg.data.label_drawing import Region, RunLengths
from effiseg.data.listed_names import parse_name
from effiseg.data.mask_errors import AnnotationError
from effiseg.data.yaml_values import is_integer

_WITHOUT_AREA = ("polyline", "points", "cuboid_3d", "cuboid_2d")
_OF_THE_IMAGE = ("label", "caption", "feature_vector", "tabular", "hash_key")
_RULE = "an annotation has type: polygon, mask, bbox, rotated_bbox or ellipse"
_RULES = {
    "polygon": "a polygon has points, a flat list of x and y of at least three corners",
    "mask": 'a mask has rle: {"counts": …, "size": [height, width]}',
    "bbox": "a box has bbox: x, y, width, height",
    "rotated_bbox": "a rotated box has bbox: x and y of the centre, width, height, and the angle",
    "ellipse": "an ellipse has points: left, top, right, bottom",
}


class DatumaroFile(NamedTuple):
    """A JSON file of Datumaro."""

    images: list[ListedImage]
    """Every image, called by the number of its place in the file."""
    drawings: list[Drawing]
    """What is drawn on each."""


@dataclass(frozen=True, kw_only=True)
class DatumaroMasks(NamedShapeMasks, SharedFileMasks):
    """Shapes of Datumaro: those of a higher z_order on top, of equal ones the later."""

    name: ClassVar[str] = "datumaro"
    title: ClassVar[str] = "a Datumaro project"
    keys: ClassVar[tuple[str, ...]] = ("labels", "annotations", "background", "polygon_border")

    @classmethod
    def is_such(cls, head: str) -> bool:
        """See `SharedFileMasks`."""
        return '"categories"' in head and '"items"' in head

    @classmethod
    def names_in(cls, head: str) -> list[str]:
        """See `SharedFileMasks`."""
        return re.findall(r'"name"\s*:\s*"([^"]+)"', head.partition('"labels"')[2].partition('"items"')[0])

    def list_file(self, file: str) -> Sequence[ListedImage]:
        """See `SharedFileMasks`."""
        return parse_once(read_datumaro, file).images

    def drawing(self, sample: MaskedImage) -> Drawing:
        """See `NamedShapeMasks`."""
        drawings = parse_once(read_datumaro, Path(sample.mask)).drawings
        if not isinstance(sample.entry, int) or sample.entry >= len(drawings):
            raise AnnotationError(
                f"{sample.mask}: must list {sample.image}; add it, or leave the image out of the split"
            )
        return drawings[sample.entry]


def read_datumaro(file: str) -> DatumaroFile:
    """A JSON file of Datumaro.

    Raises:
        AnnotationError: it cannot be read, or is not of that format.
    """
    content = read_json_annotations(file)
    match content:
        case {"categories": {"label": {"labels": list(categories)}}, "items": list(items)}:
            names = [entry.get("name") if isinstance(entry, dict) else None for entry in categories]
        case _:
            raise complaint(file, "a file of Datumaro holds categories.label.labels and the list items", content)
    if not all(isinstance(name, str) for name in names):
        raise complaint(file, "a label has a name", categories)
    found, listed = DatumaroFile([], []), set[str]()
    for item in items:
        match item:
            case {"annotations": list(entries), "image": {"path": str(path), "size": [height, width]}}:
                name, size = parse_name(path), parse_size(height, width)
            case _:
                raise complaint(file, "an item has annotations and image, with path and size", item)
        if name is None or size is None:
            raise complaint(file, "an image has path and size, [height, width]", item["image"])
        if name.path in listed:
            raise complaint(file, "an image is listed once", item["image"])
        listed.add(name.path)
        found.images.append(ListedImage(len(found.images), name))
        found.drawings.append(_draw(file, entries, names, size))
    return found


def _draw(file: str, entries: list[Any], names: list[str | None], size: tuple[int, int]) -> Drawing:
    shapes: list[tuple[int, NamedShape]] = []
    without_area: list[str] = []
    for number, entry in enumerate(entries, start=1):
        kind = text_of(entry, "type")
        if kind in _OF_THE_IMAGE:
            continue
        if kind in _WITHOUT_AREA:
            without_area.append(f"{kind} {number}")
            continue
        region = None if kind is None or kind not in _RULES else _region(kind, entry)
        if region is None:
            raise complaint(file, _RULES.get(kind or "", _RULE), entry)
        label, order = entry.get("label_id"), entry.get("z_order", 0)
        name = names[label] if is_integer(label) and 0 <= label < len(names) else None
        if name is None or not is_integer(order):
            raise complaint(file, "an annotation has label_id, the place of its label in categories", entry)
        shapes.append((order, NamedShape(name, region, f"{kind} {number}", kind == "bbox")))
    return Drawing(size, in_z_order(shapes), without_area)


def _region(kind: str, entry: dict[str, Any]) -> Region | None:
    """The pixels of an annotation; None where it is not as the format says."""
    match kind, entry:
        case "polygon" | "ellipse", {"points": list(flat)} if len(flat) % 2 == 0:
            corners = parse_corners([flat[place : place + 2] for place in range(0, len(flat), 2)], 2)
            if corners is None or (len(corners) < 3 if kind == "polygon" else len(corners) != 2):
                return None
            if kind == "polygon":
                return Region((corners,))
            middle, radii = corners.mean(axis=0).tolist(), (np.diff(corners, axis=0)[0] / 2).tolist()
            return Region((ellipse(*middle, *radii),))
        case "bbox", {"bbox": [x, y, width, height]}:
            corners = parse_corners([[x, y], [width, height]], 2)
            if corners is None:
                return None
            (left, top), (across, down) = corners.tolist()
            return Region((rectangle(left, top, left + across, top + down),))
        case "rotated_bbox", {"bbox": [x, y, width, height, angle]}:
            corners = parse_corners([[x, y], [width, height], [angle, 0]], 3)
            if corners is None:
                return None
            (middle_x, middle_y), (across, down), (degrees, _) = corners.tolist()
            left, top = middle_x - across / 2, middle_y - down / 2
            return Region((rectangle(left, top, left + across, top + down, degrees),))
        case "mask", {"rle": {"counts": str() | list() as counts, "size": [height, width]}}:
            mask_size = parse_size(height, width)
            if mask_size is None or (isinstance(counts, list) and not all(map(is_integer, counts))):
                return None
            try:
                packed = counts if isinstance(counts, str) else np.array(counts, dtype=np.int64)
            except OverflowError:
                return None
            return Region(RunLengths(packed, mask_size))
    return None
