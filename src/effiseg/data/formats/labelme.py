"""Shapes of labelme: a JSON file for each image, beside it.

The format: https://github.com/wkentaro/labelme, what its own files hold (versions 3 to 6).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

from effiseg.data.annotation_file import (
    complaint,
    decode_picture,
    ellipse,
    parse_corners,
    parse_size,
    read_json_annotations,
    rectangle,
    text_of,
)
from effiseg.data.folder_contents import FolderContents, Recognized
from effiseg.data.formats.base import MaskedImage
from effiseg.data.formats.drawn import Drawing, NamedShape, NamedShapeMasks
from effiseg.data.label_drawing import Patch, Region
from effiseg.data.polygons import PolygonBorder

_MOST_SEARCHED = 200
"""Files that are searched for labels."""
_WITHOUT_AREA = ("line", "linestrip", "point", "points")
_RULE = "a shape has label, points and shape_type: {}"
_RULES = {
    "polygon": "a polygon has at least three corners [x, y]",
    "oriented_rectangle": "an oriented rectangle has four corners [x, y]",
    "rectangle": "a rectangle has two corners [x, y]",
    "circle": "a circle has its centre and a place on it",
    "mask": "a mask has two corners and a PNG in base64 that fits between them",
}


@dataclass(frozen=True, kw_only=True)
class LabelmeMasks(NamedShapeMasks):
    """Shapes of labelme; the later lies on top, as where labelme makes label images of them."""

    name: ClassVar[str] = "labelme"
    extensions: ClassVar[tuple[str, ...]] = (".json",)
    lies_beside: ClassVar[bool] = True
    own_border: ClassVar[PolygonBorder] = "pixels"
    where_missing: ClassVar[str | None] = "labelme saves none for an image that was left out: leave it out here too"
    own_labels: ClassVar[Mapping[str, Literal["background", "ignore_label"]]] = {
        "__ignore__": "ignore_label",
        "_background_": "background",
    }

    @classmethod
    def recognize(cls, contents: FolderContents) -> Recognized | None:
        """JSON files of shapes."""
        heads = [contents.head(file) for file in islice(contents.named(".json"), _MOST_SEARCHED)]
        heads = [head for head in heads if '"shapes"' in head and '"shape_type"' in head]
        if not heads:
            return None
        names = [name for head in heads for name in re.findall(r'"label"\s*:\s*"([^"]+)"', head)]
        names = [name for name in names if name not in cls.own_labels]
        keys = {"mask_format": cls.name, "train": contents.image_folder}
        return Recognized("labelme", contents.described(names, **keys))

    def drawing(self, sample: MaskedImage) -> Drawing:
        """See `NamedShapeMasks`."""
        file = Path(sample.mask)
        content = read_json_annotations(file)
        if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
            raise complaint(file, "a file of labelme holds the list shapes", content)
        size = None
        if content.get("imageHeight") is not None or content.get("imageWidth") is not None:
            size = parse_size(content.get("imageHeight"), content.get("imageWidth"))
            if size is None:
                sides = {key: content.get(key) for key in ("imageHeight", "imageWidth")}
                raise complaint(file, "imageHeight and imageWidth are the image's size", sides)
        found = Drawing(size, [], [])
        for number, entry in enumerate(content["shapes"], start=1):
            kind = text_of(entry, "shape_type") or "polygon"
            if kind in _WITHOUT_AREA:
                found.without_area.append(f"{kind} {number}")
                continue
            region = None if kind not in _RULES or not isinstance(entry, dict) else _region(kind, entry, file)
            label = text_of(entry, "label")
            if region is None or label is None:
                raise complaint(file, _RULES.get(kind, _RULE.format(", ".join(_RULES))), entry)
            found.shapes.append(NamedShape(label, region, f"{kind} {number}", kind == "rectangle"))
        return found


def _region(kind: str, entry: dict[str, Any], file: Path) -> Region | None:
    """The pixels of a shape; None where it is not as the format says."""
    corners = parse_corners(entry.get("points"), 2)
    if corners is None:
        return None
    places = corners.tolist()
    match kind, places:
        case "polygon" | "oriented_rectangle", [_, _, _, *_]:
            return Region((corners,))
        case "rectangle", [[left, top], [right, bottom]]:
            return Region((rectangle(left, top, right, bottom),))
        case "circle", [[x, y], on_it]:
            radius = math.dist((x, y), on_it)
            return Region((ellipse(x, y, radius, radius),))
        case "mask", [[left, top], [right, bottom]]:
            mask = decode_picture(entry.get("mask"), file)
            if mask is not None and mask.shape == (int(bottom) - int(top) + 1, int(right) - int(left) + 1):
                return Region(Patch.of_mask(mask, (int(top), int(left))))
    return None
