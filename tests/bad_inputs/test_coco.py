"""COCO files that are damaged or of other tools: one line that names the file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

DATA = (
    "train: images/train\nmask_format: coco\nbackground: road\nannotations: {train: a.json}\nnames: [road, car, sky]\n"
)
IMAGES = [{"id": index, "file_name": f"00{index}.png", "height": 40, "width": 60} for index in range(2)]
CATEGORIES = [{"id": 1, "name": "car"}, {"id": 2, "name": "sky"}]
ROUND = {"id": 7, "image_id": 0, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}
ROWS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"images": None}, "a COCO file holds the lists images, annotations and categories"),
    ({"annotations": {}}, "a COCO file holds the lists images, annotations and categories"),
    ({"categories": "car"}, "a COCO file holds the lists images, annotations and categories"),
    ({"images": []}, "must list the images of train; found none of 2"),
    ({"images": [{"id": 1}]}, "an image has id, file_name, height and width; found"),
    ({"images": [{**IMAGES[0], "id": None}]}, "an image has id, file_name, height and width; found"),
    ({"images": [{**IMAGES[0], "id": True}]}, "an image has id, file_name, height and width; found"),
    ({"images": [{**IMAGES[0], "height": 0}]}, "an image has id, file_name, height and width; found"),
    ({"images": [{**IMAGES[0], "width": -60}]}, "an image has id, file_name, height and width; found"),
    ({"images": [{**IMAGES[0], "width": "wide"}]}, "an image has id, file_name, height and width; found"),
    ({"images": [{**IMAGES[0], "file_name": 5}]}, "an image has id, file_name, height and width; found"),
    ({"images": [{**IMAGES[0], "height": 10**9, "width": 10**9}]}, "an image has at most"),
    ({"images": [IMAGES[0], IMAGES[0]]}, "an image is listed once; found"),
    ({"images": [IMAGES[0], {**IMAGES[1], "id": 0}]}, "an image is listed once; found"),
    ({"images": [IMAGES[0], 5]}, "an image has id, file_name, height and width; found 5"),
    ({"categories": [{"id": 1}]}, "a category has id, a number, and name; found"),
    ({"categories": [{"id": "one", "name": "car"}]}, "a category has id, a number, and name; found"),
    ({"categories": [*CATEGORIES, {"id": 1, "name": "sky"}]}, "a category has one name"),
    ({"categories": [{"id": 1, "name": "truck"}]}, "the category 1 (truck) of annotation 7 is none of names"),
    ({"annotations": [{**ROUND, "category_id": 9}]}, "the category 9 (None) of annotation 7 is none of names"),
    ({"annotations": [5]}, "an annotation has image_id, category_id, segmentation (polygons or runs); found 5"),
    ({"annotations": [{"id": 7}]}, "an annotation has image_id, category_id, segmentation"),
    ({"annotations": [{**ROUND, "image_id": None}]}, "an annotation has image_id, category_id, segmentation"),
    ({"annotations": [{**ROUND, "category_id": "car"}]}, "an annotation has image_id, category_id, segmentation"),
    ({"annotations": [{**ROUND, "segmentation": None}]}, "an annotation has image_id, category_id, segmentation"),
    ({"annotations": [{**ROUND, "segmentation": []}]}, "an annotation has image_id, category_id, segmentation"),
    ({"annotations": [{**ROUND, "segmentation": "abc"}]}, "an annotation has image_id, category_id, segmentation"),
    ({"annotations": [{**ROUND, "segmentation": [[]]}]}, "a polygon has at least 3 corners, 6 numbers"),
    ({"annotations": [{**ROUND, "segmentation": [[1, 1, 9, 9]]}]}, "a polygon has at least 3 corners, 6 numbers"),
    ({"annotations": [{**ROUND, "segmentation": [[1, 1, 9, 1, 9]]}]}, "a polygon is a flat list of x and y in turns"),
    ({"annotations": [{**ROUND, "segmentation": [[[1, 1], [9, 1], [9, 9]]]}]}, "a polygon is a flat list of x and y"),
    ({"annotations": [{**ROUND, "segmentation": [["a"] * 6]}]}, "a polygon is a flat list of x and y in turns"),
    ({"annotations": [{**ROUND, "segmentation": [[1, 1, 9, 1, 9, 1e999]]}]}, "JSON has no Infinity"),
    ({"annotations": [{**ROUND, "segmentation": [[1, 1, 9, 1, 9, 10**400]]}]}, "a polygon is a flat list of x and y"),
    ({"annotations": [{**ROUND, "segmentation": [[2000, 400]]}]}, "run lengths are"),
    ({"annotations": [{**ROUND, "segmentation": {"counts": [1, 2]}}]}, "an annotation has image_id, category_id"),
    ({"annotations": [{**ROUND, "segmentation": {"counts": [1, 2], "size": [40, 60]}}]}, "the runs must fill 40x60"),
    ({"annotations": [{**ROUND, "segmentation": {"counts": [2400, -1, 1], "size": [40, 60]}}]}, "the runs must fill"),
    ({"annotations": [{**ROUND, "segmentation": {"counts": [10**30], "size": [40, 60]}}]}, "the runs fill the image"),
    (
        {"annotations": [{**ROUND, "segmentation": {"counts": [6000], "size": [60, 100]}}]},
        "run lengths are of size [60, 100]",
    ),
    ({"annotations": [{**ROUND, "segmentation": {"counts": "a b", "size": [40, 60]}}]}, "packed runs are made of"),
    (
        {"annotations": [{**ROUND, "segmentation": {"counts": "o", "size": [40, 60]}}]},
        "packed runs end within a number",
    ),
    ({"annotations": [{**ROUND, "segmentation": {"counts": "o" * 99, "size": [40, 60]}}]}, "longer than any image"),
)
TEXTS = (
    ("", "not valid JSON, line 1"),
    ("{", "not valid JSON, line 1"),
    ("[]", "a COCO file holds the lists images, annotations and categories"),
    ("[" * 100_000, "nested too deeply"),
    ('{"images": [NaN]}', "JSON has no NaN"),
    ('{"images": [' + "9" * 5000 + "]}", "not valid JSON"),
    ("<annotation/>", "not valid JSON, line 1"),
)


@pytest.fixture
def refuse_text(refused, good: Path, tmp_path: Path):
    """`refuse_text(annotations, line)`: the same line at every door."""
    shutil.copytree(good / "pairs" / "images", tmp_path / "images")
    (tmp_path / "data.yaml").write_text(DATA)

    def run(text: str, line: str) -> None:
        (tmp_path / "a.json").write_text(text)
        said = {
            refused(f"{door} {{here}}/data.yaml {more}", line).partition(": ")[2]
            for door, more in (("data stats", ""), ("data convert", "--out {out}"))
        }
        assert len(said) == 1
        assert "a.json" in said.pop()

    return run


@pytest.mark.parametrize(("changed", "line"), ROWS)
def test_what_a_file_holds(changed: dict[str, Any], line: str, refuse_text) -> None:
    refuse_text(json.dumps({"images": IMAGES, "categories": CATEGORIES, "annotations": [ROUND], **changed}), line)


@pytest.mark.parametrize(("text", "line"), TEXTS)
def test_what_is_no_coco_file(text: str, line: str, refuse_text) -> None:
    refuse_text(text, line)
