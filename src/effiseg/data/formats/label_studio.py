"""Regions of Label Studio: one exported JSON file (JSON or JSON-MIN) of polygons and brushes for each split.

The format: https://labelstud.io/guide/export, https://labelstud.io/guide/task_format.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from urllib.parse import unquote

import numpy as np

from effiseg.data.annotation_file import (
    complaint,
    decode_picture,
    ellipse,
    parse_corners,
    parse_once,
    parse_size,
    read_json_annotations,
    rectangle,
)
from effiseg.data.brush_runs import decode_brush
from effiseg.data.formats.base import MaskedImage
from effiseg.data.formats.drawn import Drawing, NamedShape, NamedShapeMasks
from effiseg.data.formats.shared_file import Id, ListedImage, SharedFileMasks
from effiseg.data.label_drawing import Patch, Region
from effiseg.data.listed_names import ListedName, parse_name
from effiseg.data.mask_errors import AnnotationError
from effiseg.data.names import IMAGE_EXTENSIONS

_LABEL_KEYS = ("polygonlabels", "brushlabels", "rectanglelabels", "ellipselabels", "bitmasklabels", "labels")
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
_RULES = {
    "polygon": "a polygon has points, at least three corners [x, y] in percent",
    "brush": "a brush has format rle and rle, which fills an image of original_height and original_width",
    "rectangle": "a rectangle has x, y, width and height in percent",
    "ellipse": "an ellipse has x, y, radiusX and radiusY in percent",
    "bitmask": "a bitmask has imageDataURL, a picture in base64 of the image's size",
}


class LabelStudioTask(NamedTuple):
    """A task of an export that was annotated."""

    id: Id
    """Its number."""
    name: ListedName
    """Its image."""
    results: list[dict[str, Any]]
    """What its annotation says; runs of brushes are packed as bytes."""


@dataclass(frozen=True, kw_only=True)
class LabelStudioMasks(NamedShapeMasks, SharedFileMasks):
    """Polygons, brushes, rectangles and ellipses of Label Studio; the later lies on top."""

    name: ClassVar[str] = "label_studio"
    title: ClassVar[str] = "an export of Label Studio"
    keys: ClassVar[tuple[str, ...]] = ("labels", "annotations", "background", "polygon_border")

    @classmethod
    def is_such(cls, head: str) -> bool:
        """See `SharedFileMasks`."""
        return head.lstrip().startswith("[") and ('"annotations"' in head or '"original_width"' in head)

    @classmethod
    def names_in(cls, head: str) -> list[str]:
        """See `SharedFileMasks`."""
        return re.findall(rf'"(?:{"|".join(_LABEL_KEYS)})"\s*:\s*\[\s*"([^"]+)"', head)

    def list_file(self, file: str) -> Sequence[ListedImage]:
        """See `SharedFileMasks`; tasks that were skipped or not annotated are not listed."""
        return [ListedImage(task.id, task.name) for task in parse_once(read_tasks, file).values()]

    def drawing(self, sample: MaskedImage) -> Drawing:
        """See `NamedShapeMasks`."""
        task = None if sample.entry is None else parse_once(read_tasks, Path(sample.mask)).get(sample.entry)
        if task is None:
            raise AnnotationError(
                f"{sample.mask}: must list {sample.image}; add it, or leave the image out of the split"
            )
        return _draw(str(sample.mask), task)


def read_tasks(file: str) -> dict[Id, LabelStudioTask]:
    """The annotated tasks of an export.

    Raises:
        AnnotationError: it cannot be read, is none, or a task has several annotations and no ground truth.
    """
    content = read_json_annotations(file)
    if not isinstance(content, list) or not all(isinstance(task, dict) for task in content):
        raise complaint(file, "an export of Label Studio is a list of tasks", content)
    found: dict[Id, LabelStudioTask] = {}
    names: dict[str, Id] = {}
    for number, task in enumerate(content):
        results = _results(file, task) if "annotations" in task else _minimal_results(task)
        if results is None:
            continue
        name, key = _image_name(task), task.get("id", number)
        if name is None or not isinstance(key, int | str):
            raise complaint(file, "a task has id and data, in which one value names an image", task)
        if key in found or name.path in names:
            raise complaint(file, f"an image is annotated once; {name.path!r} comes again", {"id": key})
        names[name.path] = key
        found[key] = LabelStudioTask(key, name, [_packed(result) for result in results])
    return found


def _results(file: str, task: dict[str, Any]) -> list[dict[str, Any]] | None:
    """What counts of a task's annotations; None: nothing was annotated."""
    entries = task["annotations"]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise complaint(file, "annotations of a task are a list", task)
    done = [entry for entry in entries if not entry.get("was_cancelled")]
    done = [entry for entry in done if entry.get("ground_truth")] or done
    if len(done) > 1:
        raise AnnotationError(
            f"{file}: a task has one annotation that counts; found {len(done)} of task {task.get('id')}; mark one as "
            "ground truth in Label Studio, or delete the others"
        )
    results = done[0].get("result") if done else None
    if results is not None and (not isinstance(results, list) or not all(isinstance(one, dict) for one in results)):
        raise complaint(file, "an annotation has result, a list of regions", done[0])
    return results


def _minimal_results(task: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Regions of JSON-MIN, which stand beside the data, their values among their sizes; None: it has none."""
    lists = [value for value in task.values() if isinstance(value, list) and value]
    regions = [one for value in lists for one in value if isinstance(one, dict) and "original_width" in one]
    return [{**one, "value": one} for one in regions] or None


def _image_name(task: dict[str, Any]) -> ListedName | None:
    """The image of a task: the value called image, or the one that ends as images do."""
    data = task.get("data", task)
    if not isinstance(data, dict):
        return None
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    ending = [value for value in texts.values() if value.partition("?")[0].lower().endswith(IMAGE_EXTENSIONS)]
    ending += [value for value in texts.values() if value.lower().endswith(IMAGE_EXTENSIONS)]
    written = texts.get("image") or (ending[0] if len(set(ending)) == 1 else None)
    if written is None:
        return None
    _, local, path = written.partition("/data/local-files/?d=")
    if local:
        return parse_name(unquote(path))
    name = parse_name(written)
    if name is None or not re.match(r"/data/upload/\d+/", name.path):
        return name
    last = unquote(_UPLOADED.sub("", name.last, count=1))  # the upload's own digits, which the user's file has not
    return ListedName(last, (), last, False)


def _packed(result: dict[str, Any]) -> dict[str, Any]:
    """A result whose runs take a byte each; where they are no bytes it stays, to be complained of."""
    value = result.get("value")
    if isinstance(value, dict) and isinstance(value.get("rle"), list):
        try:
            return {**result, "value": {**value, "rle": bytes(value["rle"])}}
        except (ValueError, TypeError, OverflowError):
            return result
    return result


def _draw(file: str, task: LabelStudioTask) -> Drawing:
    labels: dict[str, Any] = {}  # of regions whose label stands in a result of its own
    for one in task.results:
        match one:
            case {"type": "labels", "id": str(key), "value": {"labels": of_region}}:
                labels[key] = of_region
    sizes: set[tuple[int, int]] = set()
    found = Drawing(None, [], [])
    for number, one in enumerate(task.results, start=1):
        if one.get("original_width") is None or (one.get("type") == "labels" and not _kind(one.get("value"))):
            continue  # a choice, a text, or the label of a region of its own
        value, size = one.get("value"), parse_size(one.get("original_height"), one.get("original_width"))
        if not isinstance(value, dict) or size is None:
            raise complaint(file, "a region has value, original_height and original_width", one)
        if one.get("image_rotation"):
            raise complaint(file, "images must not be turned in Label Studio; turn the file itself", one)
        sizes.add(size)
        kind = _kind(value)
        if kind is None:
            found.without_area.append(f"region {number}")
            continue
        region = _region(kind, value, size, file)
        own = next((value[key] for key in _LABEL_KEYS if key in value), labels.get(str(one.get("id"))))
        if region is None:
            raise complaint(file, _RULES[kind], {"task": task.id, "type": one.get("type"), **value})
        if not isinstance(own, list) or len(own) != 1 or not isinstance(own[0], str):
            raise complaint(file, "a region has one label", {"task": task.id, "type": one.get("type"), "labels": own})
        is_box = kind == "rectangle" and not value.get("rotation")
        found.shapes.append(NamedShape(own[0], region, f"region {number}", is_box))
    if len(sizes) > 1:
        raise complaint(file, "all regions of an image have its size", {"task": task.id, "found": sorted(sizes)})
    return found._replace(shape=next(iter(sizes), None))


def _kind(value: Any) -> str | None:
    """The kind of a region, from what its value holds; None: points and the like."""
    keys = set(value) if isinstance(value, dict) else set[Any]()
    if "points" in keys:
        return "polygon"
    if "rle" in keys:
        return "brush"
    if "imageDataURL" in keys:
        return "bitmask"
    if "radiusX" in keys:
        return "ellipse"
    return "rectangle" if {"x", "y", "width", "height"} <= keys else None


def _region(kind: str, value: dict[str, Any], size: tuple[int, int], file: str) -> Region | None:
    """The pixels of a region; None where it is not as the format says."""
    scale = np.array([size[1], size[0]], dtype=np.float32) / 100
    match kind:
        case "polygon":
            corners = parse_corners(value["points"])
            return None if corners is None else Region(((corners * scale).astype(np.float32),))
        case "brush":
            if not isinstance(value["rle"], bytes):
                return None
            try:
                return Region(Patch.of_mask(decode_brush(value["rle"], size)))
            except ValueError as error:
                raise AnnotationError(f"{file}: {error}") from None
        case "bitmask":
            mask = decode_picture(value["imageDataURL"], file)
            return None if mask is None or mask.shape != size else Region(Patch.of_mask(mask))
        case _:
            names = ("x", "y", "width", "height") if kind == "rectangle" else ("x", "y", "radiusX", "radiusY")
            pairs = [[value.get(names[0]), value.get(names[1])], [value.get(names[2]), value.get(names[3])]]
            numbers, turn = parse_corners(pairs, 2), parse_corners([[value.get("rotation", 0), 0]], 1)
            if numbers is None or turn is None:
                return None
            (x, y), (across, down) = (numbers * scale).tolist()
            degrees = float(turn[0, 0])
            if kind == "ellipse":
                return Region((ellipse(x, y, across, down, degrees),))
            return Region((rectangle(x, y, x + across, y + down, degrees, about_its_corner=True),))
