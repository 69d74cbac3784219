"""A file of labelme for each image.

Where labelme makes label images of polygons, corners are pixels and the border belongs. So these are traced around the
pixels of a region, what lies in its holes included.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from effiseg.data.polygons import fill_polygon
from effiseg.prediction.annotations.image import AnnotatedImage
from effiseg.prediction.outlines import Corners


def encode_labelme(image: AnnotatedImage, names: Sequence[str]) -> bytes:
    """The JSON of labelme, without the image: polygons of which the later lies on top."""
    shapes: list[dict[str, Any]] = [
        {
            "label": names[one.label],
            "points": _traced(one.outer, image.shape),
            "group_id": None,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
            "mask": None,
        }
        for one in image.outlines
    ]
    content: dict[str, Any] = {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": posixpath.basename(image.name),
        "imageData": None,
        "imageHeight": image.shape[0],
        "imageWidth": image.shape[1],
    }
    return (json.dumps(content, ensure_ascii=False) + "\n").encode()


def _traced(outer: Corners, shape: tuple[int, int]) -> list[list[int]]:
    """The pixels along the border of what an outline holds; three at least, as labelme wants them."""
    inside, (rows, columns) = fill_polygon(outer, shape)
    lines, _ = cv2.findContours(
        inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(columns.start, rows.start)
    )
    line: list[list[int]] = max(lines, key=cv2.contourArea)[:, 0].tolist() if lines else []
    return (line * 3)[: max(3, len(line))]
