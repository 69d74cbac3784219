"""Polygons in text files as Ultralytics writes them, one object a line: class x1 y1 x2 y2 …, drawn as labels."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.label_drawing import Region, draw_regions
from effiseg.data.transforms import UInt8Array
from effiseg.errors import DataError, UsageError
from effiseg.files import read_text


def draw_yolo_labels(path: str | Path, shape: tuple[int, int], spec: DatasetSpec) -> tuple[UInt8Array, dict[int, int]]:
    """The labels of a text file; an empty one is all background.

    Coordinates are shares of the image's width and height. Class numbers are indices of names, or what
    label_mapping makes of them. Larger polygons are drawn before smaller ones.

    Args:
        path: the text file.
        shape: (height, width) of its image.
        spec: the data set.

    Returns:
        (H, W) uint8 class index or ignore_index, and the class numbers that label_mapping does not list (they are
        ignored) with their pixels, overlaps counted again.

    Raises:
        DataError: the file cannot be read, or a line is no polygon of a known class.
    """
    try:
        lines = read_text(path).splitlines()
    except UsageError as error:
        raise DataError(str(error)) from None
    unlisted: Counter[int] = Counter()
    regions: list[tuple[Region, int]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        found, corners = _parse(path, number, line)
        region = Region((corners * np.array([shape[1], shape[0]], dtype=np.float32),))
        label = found if spec.label_mapping is None else spec.label_mapping.get(found)
        if label is None:
            unlisted[found] += round(region.area())
        elif spec.label_mapping is None and not 0 <= found < spec.num_classes:
            raise DataError(
                f"{path}: line {number} begins with a class, 0 to {spec.num_classes - 1}; found {found}; correct it, "
                "add the class to names, or give the data set a label_mapping"
            )
        regions.append((region, spec.ignore_index if label is None else label))
    return draw_regions(regions, shape, spec.masks.background), dict(unlisted)


def _parse(path: str | Path, number: int, line: str) -> tuple[int, np.ndarray[tuple[int, int], np.dtype[np.float32]]]:
    """The class and the corners (N, 2), shares of width and height, of a line."""
    words = line.split()
    try:
        found, values = int(words[0]), np.array(words[1:], dtype=np.float32)
    except ValueError:
        found, values = 0, np.zeros(0, dtype=np.float32)
    if len(values) == 4:
        raise DataError(f"{path}: line {number} must hold a polygon; found a box, which says nothing of its pixels")
    if len(values) < 6 or len(values) % 2 or not np.isfinite(values).all():
        raise DataError(
            f"{path}: line {number} must be a class and at least three corners x y; found {line.strip()[:60]!r}"
        )
    if values.min() < -1 or values.max() > 2:
        raise DataError(
            f"{path}: line {number} must hold shares of the image's width and height, 0 to 1; found "
            f"{values.max():g}; divide pixels by the image's size"
        )
    return found, values.reshape(-1, 2)
