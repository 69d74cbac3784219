from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.samples import check_samples, list_samples
from effiseg.errors import DataError

SQUARE = [1, 1, 4, 1, 4, 4, 1, 4]
SHAPE = (6, 8)


def annotation(number: int, image: int, category: int, segmentation: Any, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation, "bbox": []} | more


def content(*annotations: dict[str, Any], names: tuple[str, ...] = ("a.png", "b.png")) -> dict[str, Any]:
    images = [
        {"id": 10 + index, "file_name": name, "height": SHAPE[0], "width": SHAPE[1]} for index, name in enumerate(names)
    ]
    categories = [{"id": 3, "name": "cat"}, {"id": 90, "name": "dog"}, {"id": 91, "name": "box"}]
    return {"images": images, "annotations": list(annotations), "categories": categories}


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """Writes two images, train.json and data.yaml; returns the description."""

    def write(values: Any, **changes: Any) -> DatasetSpec:
        (tmp_path / "images").mkdir(exist_ok=True)
        for name in ("a.png", "b.png"):
            Image.fromarray(np.zeros((*SHAPE, 3), np.uint8)).save(tmp_path / "images" / name)
        (tmp_path / "train.json").write_text(values if isinstance(values, str) else json.dumps(values))
        described = {
            "train": "images",
            "names": ["ground", "dog", "cat"],
            "mask_format": "coco",
            "annotations": {"train": "train.json"},
            "background": "ground",
        }
        (tmp_path / "data.yaml").write_text(yaml.safe_dump(described | changes))
        return load_dataset_spec(tmp_path / "data.yaml")

    return write


def labels(spec: DatasetSpec, index: int = 0) -> np.ndarray:
    return list_samples(spec, "train")[index].read_labels(spec)[0]


def test_categories_are_classes_by_their_names(make: Any) -> None:
    spec = make(content(annotation(1, 10, 3, [SQUARE]), annotation(2, 11, 90, [SQUARE, [6, 0, 8, 0, 8, 6, 6, 6]])))
    samples = list_samples(spec, "train")
    assert [(sample.id, sample.mask) for sample in samples] == [(x, spec.root / "train.json") for x in "ab"]
    expected = np.zeros(SHAPE, np.uint8)
    expected[1:4, 1:4] = 2
    image, first = samples[0].read_pair(spec)
    assert image.shape == (*SHAPE, 3)
    np.testing.assert_array_equal(first, expected)
    expected[1:4, 1:4] = 1
    expected[:, 6:] = 1
    np.testing.assert_array_equal(labels(spec, 1), expected)


def test_pixels_in_no_polygon_are_what_the_yaml_says(make: Any) -> None:
    spec = make(content(annotation(1, 10, 3, [SQUARE])), background="ignore_label", names=["dog", "cat"])
    assert np.unique(labels(spec)).tolist() == [1, 255]
    assert (labels(spec, 1) == 255).all()


def test_small_objects_lie_on_large_ones_and_later_on_equal_ones_crowds_as_any_other(make: Any) -> None:
    small, large = [2, 2, 3, 2, 3, 3, 2, 3], [0, 0, 8, 0, 8, 6, 0, 6]
    spec = make(content(annotation(1, 10, 3, [small]), annotation(2, 10, 90, [large])))
    assert labels(spec)[2, 2] == 2
    assert (labels(spec) == 1).sum() == 47
    spec = make(content(annotation(1, 10, 3, [SQUARE]), annotation(2, 10, 90, [SQUARE])))
    assert labels(spec)[2, 2] == 1
    crowd = {"counts": [0, 1, 47], "size": list(SHAPE)}
    spec = make(content(annotation(1, 10, 90, [large]), annotation(2, 10, 3, crowd, iscrowd=1)))
    assert labels(spec)[0, 0] == 2
    assert (labels(spec) == 1).sum() == 47
    brush = {"counts": [0, 6, 42], "size": list(SHAPE)}  # as CVAT writes a brush's mask on a polygon
    for crowd in (0, 1):
        spec = make(content(annotation(1, 10, 3, brush, iscrowd=crowd), annotation(2, 10, 90, [large])))
        assert (labels(spec)[:, 0] == 2).all()
        assert (labels(spec)[:, 1:] == 1).all()


def test_run_lengths_are_drawn(make: Any) -> None:
    expected = np.zeros(SHAPE, np.uint8)
    expected[:, 0] = 2
    for counts in ([0, 6, 42], "06Z1"):
        spec = make(content(annotation(1, 10, 3, {"counts": counts, "size": list(SHAPE)})))
        np.testing.assert_array_equal(labels(spec), expected)


def test_label_mapping_leads_from_category_numbers_to_classes(make: Any) -> None:
    values = content(annotation(1, 10, 3, [SQUARE]), annotation(2, 10, 91, [[6, 0, 8, 0, 8, 6, 6, 6]]))
    spec = make(values, label_mapping={3: 1, 90: "ignore_label"})
    found, unlisted = list_samples(spec, "train")[0].read_labels(spec)
    assert unlisted == {91: 12}
    assert (found == 1).sum() == 9
    assert (found == 255).sum() == 12
    assert check_samples(spec, list_samples(spec, "train")) == {91: 12}
    with pytest.raises(DataError, match=r"category 91 \(box\) of annotation 2 is none of names; add it .* 91: ignore"):
        labels(replace(spec, label_mapping=None))


def test_images_are_found_by_the_end_of_their_path_and_others_passed_over(make: Any, tmp_path: Path) -> None:
    spec = make(content(names=("images/b.png",)))
    assert [sample.id for sample in list_samples(spec, "train")] == ["b"]
    spec = make(content(names=(r"C:\exports\set\a.png",)))
    assert [sample.id for sample in list_samples(spec, "train")] == ["a"]
    (tmp_path / "images" / "x").mkdir()
    (tmp_path / "images" / "a.png").rename(tmp_path / "images" / "x" / "b.png")
    spec = make(content(names=("x/b.png", "b.png")))
    assert [sample.id for sample in list_samples(spec, "train")] == ["b", "x__b"]


def test_a_changed_file_is_read_again(make: Any) -> None:
    spec = make(content(annotation(1, 10, 3, [SQUARE])))
    assert labels(spec).any()
    make(content())
    assert not labels(spec).any()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("{", "annotations: not valid JSON"),
        ({"images": []}, "holds the lists images, annotations and categories"),
        (content(names=("c.png",)), "must list the images of train; found none of 2"),
        (content(names=("a.png", "./a.png")), "an image is listed once; found 'a.png'"),
        (content(annotation(1, 10, 3, [])), 'image_id, category_id, segmentation (polygons or runs); found {"id": 1'),
        (content(annotation(1, 10, 3, [[1, 1, 2]])), "a polygon is a flat list of x and y in turns"),
        (content(annotation(1, 10, 3, {"counts": [9], "size": [3, 3]})), "of size [3, 3], the image of [6, 8]"),
        (content(annotation(1, 10, 3, {"counts": [9], "size": [6, 8]})), "a.png cannot be drawn: the runs must fill"),
        (content(annotation(1, 10, 7, [SQUARE])), "the category 7 (None) of annotation 1 is none of names"),
    ],
)
def test_faults_name_the_file_in_one_line(make: Any, values: Any, expected: str) -> None:
    spec = make(values)
    with pytest.raises(DataError) as caught:
        labels(spec)
    assert str(caught.value).startswith(str(spec.root / "train.json"))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sizes_that_the_file_misstates_are_refused(make: Any) -> None:
    values = content()
    values["images"][0]["width"] = 9
    with pytest.raises(DataError, match=r"train\.json: a mask is as large as its image; found 6x9 .* against 6x8 of"):
        labels(make(values))


def test_a_missing_file_is_named(make: Any, tmp_path: Path) -> None:
    spec = make(content())
    (tmp_path / "train.json").unlink()
    with pytest.raises(DataError, match=r"train\.json: annotations cannot be read"):
        list_samples(spec, "train")
