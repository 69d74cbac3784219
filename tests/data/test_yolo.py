from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.samples import list_samples
from effiseg.errors import DataError

LEFT = "0 0 0 0.5 0 0.5 1 0 1"
CORNER = "1 0 0 0.25 0 0.25 0.5 0 0.5"


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """Writes one image of 4x8, its text file and data.yaml; returns the description."""

    def write(text: str, **changes: Any) -> DatasetSpec:
        for folder in ("images/train", "labels/train"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 8, 3), np.uint8)).save(tmp_path / "images" / "train" / "ein Bild ü.png")
        (tmp_path / "labels" / "train" / "ein Bild ü.txt").write_text(text)
        values = {
            "train": "images/train",
            "names": ["car", "person", "rest"],
            "mask_format": "yolo",
            "background": "rest",
        }
        (tmp_path / "data.yaml").write_text(yaml.safe_dump(values | changes))
        return load_dataset_spec(tmp_path / "data.yaml")

    return write


def read(spec: DatasetSpec) -> tuple[np.ndarray, dict[int, int]]:
    return list_samples(spec, "train")[0].read_labels(spec)


def test_polygons_are_drawn_the_smaller_on_the_larger(make: Any) -> None:
    expected = np.full((4, 8), 2, np.uint8)
    expected[:, :4] = 0
    expected[:2, :2] = 1
    for text in (f"{LEFT}\n{CORNER}\n", f"{CORNER}\n\n{LEFT}"):
        np.testing.assert_array_equal(read(make(text))[0], expected)


def test_an_empty_file_is_all_background(make: Any) -> None:
    assert (read(make(""))[0] == 2).all()
    assert (read(make("\n", background="ignore_label"))[0] == 255).all()


@pytest.mark.parametrize("number", ["0", "0.0", "\ufeff0", "\ufeff0.0", "0e0"])
def test_a_class_is_a_whole_number_however_it_is_written(make: Any, number: str) -> None:
    labels, _ = read(make(f"{number}{LEFT[1:]}\r\n"))
    assert labels[0].tolist() == [0, 0, 0, 0, 2, 2, 2, 2]
    with pytest.raises(DataError, match="must be a class and at least three corners"):
        read(make(f"0.5{LEFT[1:]}"))


def test_traced_corners_are_pixels_where_the_description_says_so(make: Any) -> None:
    traced = "0 0.125 0.25 0.5 0.25 0.5 0.5 0.125 0.5"  # pixels 1 to 4 of rows 1 and 2
    assert (read(make(traced))[0] == 0).sum() == 3
    labels, _ = read(make(traced, polygon_border="pixels"))
    assert (labels == 0).sum() == 8
    assert labels[1].tolist() == [2, 0, 0, 0, 0, 2, 2, 2]


def test_label_mapping_leads_from_their_numbers_to_classes(make: Any) -> None:
    labels, unlisted = read(make(f"{LEFT}\n7{CORNER[1:]}", label_mapping={0: 1}))
    assert unlisted == {7: 4}
    assert labels[0].tolist() == [255, 255, 1, 1, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 0 0 1 0 1 1", "line 1 begins with a class, 0 to 2; found 3"),
        (f"{LEFT}\n0 0.5 0.5 0.2 0.2", "line 2 must hold a polygon; found a box"),
        ("0 0 0 1 0 1", "line 1 must be a class and at least three corners x y; found '0 0 0 1 0 1'"),
        ("car 0 0 1 0 1 1", "line 1 must be a class"),
        ("0 0 0 1 0 1 nan", "line 1 must be a class"),
        ("0 0 0 640 0 640 480", "line 1 must hold shares of the image's width and height, 0 to 1; found 640"),
    ],
)
def test_faults_name_file_and_line(make: Any, text: str, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        read(make(text))
    assert "ein Bild ü.txt: line" in str(caught.value)
    assert expected in str(caught.value)


def test_an_image_without_a_file_is_not_background(make: Any, tmp_path: Path) -> None:
    spec = make(LEFT)
    (tmp_path / "labels" / "train" / "ein Bild ü.txt").rename(tmp_path / "labels" / "train" / "other.txt")
    with pytest.raises(DataError, match=r"expected .*ein Bild ü\.txt; where nothing is to be seen, the file is empty"):
        list_samples(spec, "train")
