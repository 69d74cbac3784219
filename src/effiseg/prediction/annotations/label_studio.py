"""One JSON file of tasks for Label Studio, with what was found as predictions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from effiseg.files import atomic_path
from effiseg.prediction.annotations.image import AnnotatedImage

_DECIMALS = 6


def write_label_studio(path: Path, images: Callable[[], Iterable[AnnotatedImage]], names: Sequence[str]) -> None:
    """Write tasks with predictions: polygons of which the later lies on top.

    Args:
        path: the file.
        images: called for what is written.
        names: of the classes.

    Raises:
        ResourceError: it cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write("[")
        for number, image in enumerate(images(), start=1):
            task = {
                "data": {"image": f"/data/local-files/?d={quote(image.name)}"},
                "predictions": [{"model_version": "effiseg", "result": _results(image, names)}],
            }
            stream.write(("\n" if number == 1 else ",\n") + json.dumps(task, ensure_ascii=False))
        stream.write("\n]\n")


def _results(image: AnnotatedImage, names: Sequence[str]) -> list[dict[str, Any]]:
    height, width = image.shape
    percent = np.array([100 / width, 100 / height])
    return [
        {
            "id": f"region{number}",
            "type": "polygonlabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "points": [[round(x, _DECIMALS), round(y, _DECIMALS)] for x, y in (one.outer * percent).tolist()],
                "closed": True,
                "polygonlabels": [names[one.label]],
            },
        }
        for number, one in enumerate(image.outlines, start=1)
    ]
