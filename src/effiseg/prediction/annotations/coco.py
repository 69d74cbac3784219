"""One COCO file for all images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from effiseg.data.label_drawing import Region
from effiseg.data.run_lengths import pack_run_lengths
from effiseg.files import atomic_path
from effiseg.prediction.annotations.image import AnnotatedImage, pairs
from effiseg.prediction.outlines import Outline


def write_coco(path: Path, images: Callable[[], Iterable[AnnotatedImage]], names: Sequence[str]) -> None:
    """Write images, then annotations, an entry a line: polygons, or packed runs where a region has holes.

    COCO's polygons cannot leave anything out. Categories are numbered from 1 on, in the order of the classes.

    Args:
        path: the file.
        images: called twice for what is written.
        names: of the classes.

    Raises:
        ResourceError: it cannot be written.
    """
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(names)]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write('{"images": [')
        for number, image in enumerate(images(), start=1):
            entry = {"id": number, "file_name": image.name, "height": image.shape[0], "width": image.shape[1]}
            stream.write(("\n" if number == 1 else ",\n") + json.dumps(entry, ensure_ascii=False))
        stream.write('\n],\n"annotations": [')
        count = 0
        for number, image in enumerate(images(), start=1):
            for outline in image.outlines:
                count += 1
                entry = {"id": count, "image_id": number, **_annotation(outline, image.shape)}
                stream.write(("\n" if count == 1 else ",\n") + json.dumps(entry))
        stream.write(f'\n],\n"categories": {json.dumps(categories, ensure_ascii=False)}}}\n')


def _annotation(outline: Outline, shape: tuple[int, int]) -> dict[str, Any]:
    left, top = outline.outer.min(axis=0).tolist()
    right, bottom = outline.outer.max(axis=0).tolist()
    region = Region((outline.outer,), tuple(outline.holes))
    entry: dict[str, Any] = {"category_id": outline.label + 1, "iscrowd": 0}
    entry["bbox"] = [round(side, 2) for side in (left, top, right - left, bottom - top)]
    entry["area"] = round(region.area(), 2)
    if outline.holes:
        mask = np.zeros(shape, dtype=np.bool_)
        for inside, place in region.places(shape, "centers"):
            mask[place] = inside
        entry["segmentation"] = {"counts": pack_run_lengths(mask), "size": list(shape)}
    else:
        entry["segmentation"] = [[number for pair in pairs(outline.outer) for number in pair]]
    return entry
