"""Shapes of CVAT's "CVAT for images 1.1": one XML file of polygons, boxes, ellipses and brush masks for each split.

The format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple, NoReturn
from xml.parsers import expat
from xml.sax.saxutils import unescape

import numpy as np

from effiseg.data.annotation_file import (
    ellipse,
    parse_corners,
    parse_once,
    parse_size,
    read_annotations,
    rectangle,
    refuse_doctype,
)
from effiseg.data.formats.base import MaskedImage
from effiseg.data.formats.drawn import Drawing, NamedShape, NamedShapeMasks
from effiseg.data.formats.shared_file import ListedImage, SharedFileMasks
from effiseg.data.label_drawing import Patch, Region
from effiseg.data.listed_names import parse_name
from effiseg.data.mask_errors import AnnotationError

_WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton")
_WITH_AREA = ("polygon", "box", "ellipse", "mask")


class CvatFile(NamedTuple):
    """An XML file of CVAT."""

    images: list[ListedImage]
    """Every image, called by the number of its place in the file."""
    drawings: list[Drawing]
    """What is drawn on each."""


@dataclass(frozen=True, kw_only=True)
class CvatMasks(NamedShapeMasks, SharedFileMasks):
    """Polygons, boxes, ellipses and brush masks of CVAT: those of a higher z_order on top, of equal ones the later."""

    name: ClassVar[str] = "cvat"
    title: ClassVar[str] = "CVAT for images 1.1"
    file_suffix: ClassVar[str] = ".xml"
    keys: ClassVar[tuple[str, ...]] = ("labels", "annotations", "background", "polygon_border")

    @classmethod
    def is_such(cls, head: str) -> bool:
        """See `SharedFileMasks`."""
        return re.search(r"<annotations\b", head[:2000]) is not None and "<image" in head

    @classmethod
    def names_in(cls, head: str) -> list[str]:
        """See `SharedFileMasks`."""
        return [unescape(name) for name in re.findall(r"<label>\s*<name>([^<]+)</name>", head)]

    def list_file(self, file: str) -> Sequence[ListedImage]:
        """See `SharedFileMasks`."""
        return parse_once(read_cvat, file).images

    def drawing(self, sample: MaskedImage) -> Drawing:
        """See `NamedShapeMasks`."""
        drawings = parse_once(read_cvat, Path(sample.mask)).drawings
        if not isinstance(sample.entry, int) or sample.entry >= len(drawings):
            raise AnnotationError(
                f"{sample.mask}: must list {sample.image}; add it, or remove the image from the split"
            )
        return drawings[sample.entry]


def read_cvat(file: str) -> CvatFile:
    """An XML file of CVAT.

    Raises:
        AnnotationError: it cannot be read, is no XML of that format, declares entities, or holds tracks of a video.
    """
    reader = _Reader(file)
    parser = expat.ParserCreate()
    refuse_doctype(parser, file)
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    try:
        parser.Parse(read_annotations(file), True)
    except expat.ExpatError as error:
        raise AnnotationError(f"{file}: annotations: not valid XML, {error}") from None
    if not reader.is_cvat:
        raise AnnotationError(f"{file}: a file of CVAT begins with <annotations>; found another")
    drawings = [
        Drawing(shape, [one for _, one in sorted(found, key=_z_order)], flat) for shape, found, flat in reader.found
    ]
    return CvatFile(reader.images, drawings)


def _z_order(ordered: tuple[int, NamedShape]) -> int:
    return ordered[0]


@dataclass
class _Reader:
    """The elements of a file as they come: no tree of it is built."""

    file: str
    images: list[ListedImage] = field(default_factory=list)
    found: list[tuple[tuple[int, int], list[tuple[int, NamedShape]], list[str]]] = field(default_factory=list)
    is_cvat: bool = False
    _parents: list[str] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)

    def start(self, tag: str, values: dict[str, str]) -> None:
        parent = self._parents[-1] if self._parents else None
        self._parents.append(tag)
        match parent, tag:
            case None, "annotations":
                self.is_cvat = True
            case "annotations", "image":
                self._image(values)
            case "annotations", "track":
                raise AnnotationError(
                    f"{self.file}: must hold images; found a track of a video (CVAT for video); export it from CVAT as "
                    "CVAT for images 1.1"
                )
            case "image", _ if tag in _WITH_AREA:
                self._shape(tag, values)
            case "image", _ if tag in _WITHOUT_AREA:
                self.found[-1][2].append(self._id(tag))

    def end(self, tag: str) -> None:
        self._parents.pop()

    def _image(self, values: dict[str, str]) -> None:
        name = parse_name(values.get("name", ""))
        shape = parse_size(*(_whole(values.get(side)) for side in ("height", "width")))
        if name is None or shape is None:
            self._complain("an image has name, height and width, not too large", "image", values)
        if name.path in self._names:
            raise AnnotationError(f"{self.file}: an image is listed once; found {name.path!r} again")
        self._names.add(name.path)
        self.images.append(ListedImage(len(self.images), name))
        self.found.append((shape, [], []))

    def _shape(self, tag: str, values: dict[str, str]) -> None:
        label, order = values.get("label"), _whole(values.get("z_order", "0"))
        region = _region(tag, values)
        if label is None or order is None or region is None:
            self._complain(_RULES[tag], tag, values)
        is_box = tag == "box" and not float(values.get("rotation", 0))
        self.found[-1][1].append((order, NamedShape(label, region, self._id(tag), is_box)))

    def _id(self, tag: str) -> str:
        return f"{tag} {len(self.found[-1][1]) + len(self.found[-1][2]) + 1}"

    def _complain(self, rule: str, tag: str, values: dict[str, str]) -> NoReturn:
        shown = f"<{tag} " + " ".join(f'{key}="{value}"' for key, value in values.items())
        of_image = f" of {self.images[-1].name.path}" if self.images and tag != "image" else ""
        raise AnnotationError(
            f"{self.file}: {rule}; found {shown[:100] + '…' if len(shown) > 100 else shown + '>'}{of_image}"
        )


_RULES = {
    "polygon": "a polygon has label and points, at least three corners x,y;x,y;…",
    "box": "a box has label, xtl, ytl, xbr and ybr",
    "ellipse": "an ellipse has label, cx, cy, rx and ry",
    "mask": "a mask has label, left, top, width, height and rle, runs that fill it",
}


def _region(tag: str, values: dict[str, str]) -> Region | None:
    """The pixels of a shape; None where it is not as the format says."""
    match tag:
        case "polygon":
            corners = parse_corners([pair.split(",") for pair in values.get("points", "").split(";")])
            return None if corners is None else Region((corners,))
        case "box" | "ellipse":
            keys = ("xtl", "ytl", "xbr", "ybr") if tag == "box" else ("cx", "cy", "rx", "ry")
            numbers = [_number(values.get(key)) for key in keys]
            degrees = _number(values.get("rotation", "0"))
            if degrees is None or any(number is None for number in numbers):
                return None
            first, second, third, fourth = (number or 0.0 for number in numbers)
            return Region(((rectangle if tag == "box" else ellipse)(first, second, third, fourth, degrees),))
        case _:
            return _mask(values)


def _mask(values: dict[str, str]) -> Region | None:
    left, top, width, height = (_whole(values.get(key)) for key in ("left", "top", "width", "height"))
    size = parse_size(height, width)
    if left is None or top is None or size is None:
        return None
    try:
        runs = np.array(values.get("rle", "").split(","), dtype=np.int64)
    except (ValueError, OverflowError):
        return None
    if (runs < 0).any() or sum(runs.tolist()) != size[0] * size[1]:
        return None
    return Region(Patch(runs, size, (top, left)))


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _whole(text: str | None) -> int | None:
    value = _number(text)
    return int(value) if value is not None and value.is_integer() else None
