"""Objects of Supervisely: a JSON file for each image, in the folder `ann` beside `img`.

The format: https://docs.supervisely.com/customization-and-integration/00_ann_format_navi.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from effiseg.data.annotation_file import (
    complaint,
    decode_picture,
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
from effiseg.data.polygons import Points, PolygonBorder

_WITHOUT_AREA = ("line", "point", "cuboid", "cuboid_2d", "graph", "keypoint")
_RULE = "an object has classTitle and geometryType: {}"
_RULES = {
    "polygon": "a polygon has points: exterior, at least three corners [x, y], and interior, a list of such",
    "rectangle": "a rectangle has points: exterior, two corners [x, y]",
    "bitmap": "a bitmap has data, a picture in base64, and origin [x, y]",
}


@dataclass(frozen=True, kw_only=True)
class SuperviselyMasks(NamedShapeMasks):
    """Objects of Supervisely; the later lies on top, holes of polygons are cut out."""

    name: ClassVar[str] = "supervisely"
    extensions: ClassVar[tuple[str, ...]] = (".json",)
    folders: ClassVar[tuple[str, str]] = ("img", "ann")
    own_border: ClassVar[PolygonBorder] = "pixels"
    where_missing: ClassVar[str | None] = "in Supervisely every image has its file: export the project again"

    @classmethod
    def recognize(cls, contents: FolderContents) -> Recognized | None:
        """A project's meta.json beside folders of images and of annotations."""
        for file in contents.named("meta.json"):
            folders = [each.parent for each in contents.files if each.parent.name == cls.folders[0]]
            head = contents.head(file)
            if '"classes"' in head and folders:
                classes = head.partition('"classes"')[2].partition('"tags"')[0]
                names = re.findall(r'"title"\s*:\s*"([^"]+)"', classes)
                keys = {"mask_format": cls.name, "train": str(folders[0])}
                return Recognized("a project of Supervisely", contents.described(names, **keys))
        return None

    def mask_names(self, image: str, stem: str, suffix: str) -> list[str]:
        """The image's whole name leads, as `a.jpg.json`; `a.json` is older."""
        return [f"{image}.json", *super().mask_names(image, stem, suffix)]

    def drawing(self, sample: MaskedImage) -> Drawing:
        """See `NamedShapeMasks`."""
        file = Path(sample.mask)
        content = read_json_annotations(file)
        match content:
            case {"size": {"height": height, "width": width}, "objects": list(entries)}:
                size = parse_size(height, width)
            case _:
                raise complaint(file, "a file of Supervisely holds size (height, width) and the list objects", content)
        if size is None:
            raise complaint(file, "size is that of the image", content["size"])
        found = Drawing(size, [], [])
        for number, entry in enumerate(entries, start=1):
            kind = text_of(entry, "geometryType")
            if kind in _WITHOUT_AREA:
                found.without_area.append(f"{kind} {number}")
                continue
            region = None if kind is None or kind not in _RULES else _region(kind, entry, file)
            label = text_of(entry, "classTitle")
            if region is None or label is None:
                raise complaint(file, _RULES.get(kind or "", _RULE.format(", ".join(_RULES))), entry)
            found.shapes.append(NamedShape(label, region, f"{kind} {number}", kind == "rectangle"))
        return found


def _region(kind: str, entry: dict[str, Any], file: Path) -> Region | None:
    """The pixels of an object; None where it is not as the format says."""
    match kind, entry:
        case "polygon", {"points": {"exterior": exterior}}:
            outside = parse_corners(exterior)
            inside = [parse_corners(hole) for hole in entry["points"].get("interior") or []]
            holes: tuple[Points, ...] = tuple(hole for hole in inside if hole is not None)
            return None if outside is None or len(holes) != len(inside) else Region((outside,), holes)
        case "rectangle", {"points": {"exterior": [_, _] as exterior}}:
            corners = parse_corners(exterior, 2)
            if corners is None:
                return None
            (left, top), (right, bottom) = corners.tolist()
            return Region((rectangle(left, top, right, bottom),))
        case "bitmap", {"bitmap": {"data": data, "origin": origin}}:
            place = parse_corners([origin], 1)
            mask = decode_picture(data, file)
            if place is None or mask is None:
                return None
            left, top = map(int, place[0].tolist())
            return Region(Patch.of_mask(mask, (top, left)))
    return None
