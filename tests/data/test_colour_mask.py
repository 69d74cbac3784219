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

PALETTE = [[128, 0, 0], [0, 128, 0], [0, 0, 0]]


@pytest.fixture
def make(tmp_path: Path) -> Any:
    def write(mask: Image.Image, **changes: Any) -> DatasetSpec:
        for folder in ("images", "labels"):
            (tmp_path / folder).mkdir(exist_ok=True)
        Image.new("RGB", mask.size).save(tmp_path / "images" / "a.png")
        mask.save(tmp_path / "labels" / "a.png")
        values = {"train": "images", "names": ["a", "b", "c"], "mask_format": "color", "palette": PALETTE} | changes
        (tmp_path / "data.yaml").write_text(yaml.safe_dump(values))
        return load_dataset_spec(tmp_path / "data.yaml")

    return write


def read(spec: DatasetSpec) -> np.ndarray:
    labels, unlisted = list_samples(spec, "train")[0].read_labels(spec)
    assert unlisted == {}
    assert labels.dtype == np.uint8
    return labels


def coloured(labels: np.ndarray, *more: list[int]) -> Image.Image:
    return Image.fromarray(np.array([*PALETTE, *more], np.uint8)[labels])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_are_classes_however_they_are_stored(make: Any, mode: str) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (5, 7))
    mask = coloured(labels)
    mask = mask.quantize(3) if mode == "P" else mask.convert(mode)
    np.testing.assert_array_equal(read(make(mask)), labels)


def test_grey_masks_may_have_grey_colours(make: Any) -> None:
    mask = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8))
    spec = make(mask, names=["back", "front"], palette=[[0, 0, 0], [255, 255, 255]])
    assert read(spec).tolist() == [[0, 1], [1, 0]]


def test_only_the_colours_that_the_yaml_names_are_ignored(make: Any) -> None:
    labels = np.array([[0, 1, 2, 3], [3, 4, 4, 0]])
    mask = coloured(labels, [1, 2, 3], [7, 8, 9])
    known = {"ignore_colors": [[1, 2, 3]]}
    with pytest.raises(DataError) as caught:
        read(make(mask, **known))
    message = str(caught.value)
    assert "a.png: every colour of a mask must be in palette or ignore_colors" in message
    assert "found [7, 8, 9] (2 pixels) (add them" in message
    with pytest.raises(DataError, match=r"found \[1, 2, 3\] \(2 pixels\), \[7, 8, 9\] \(2 pixels\)"):
        read(make(mask))
    assert read(make(mask, ignore_colors="others", ignore_index=9)).tolist() == [[0, 1, 2, 9], [9, 9, 9, 0]]
    assert read(make(mask, ignore_colors=[[1, 2, 3], [7, 8, 9]])).tolist() == [[0, 1, 2, 255], [255, 255, 255, 0]]


def test_mixed_colours_of_a_jpeg_are_recognized(make: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    with pytest.raises(DataError, match=r"and \d+ more colours .* saved as JPEG has mixed colours"):
        read(make(Image.fromarray(noise)))
