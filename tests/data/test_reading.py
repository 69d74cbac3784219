from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.file_sample import FileSample
from effiseg.data.reading import map_labels, read_image, read_mask, read_raw_mask
from effiseg.data.samples import check_samples, list_samples
from effiseg.errors import DataError


@pytest.fixture
def spec(make_dataset) -> DatasetSpec:
    return load_dataset_spec(make_dataset())


def save(path: Path, values: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(path)
    return path


def test_images_are_rgb_whatever_their_name_and_kind(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(read_image(save(tmp_path / "straße 道.png", pixels)), pixels)
    grey = read_image(save(tmp_path / "grey.png", pixels[..., 0]))
    np.testing.assert_array_equal(grey, np.repeat(pixels[..., :1], 3, axis=2))
    opaque = np.dstack([pixels, np.full((5, 7), 255, np.uint8)])
    np.testing.assert_array_equal(read_image(save(tmp_path / "alpha.png", opaque)), pixels)
    deep = pixels[..., ::-1].astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), pixels)


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_an_unreadable_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.jpg: not an image"):
        read_image(tmp_path / "bad.jpg")
    with pytest.raises(DataError, match=r"gone\.jpg: image cannot be read"):
        read_image(tmp_path / "gone.jpg")


def test_palette_masks_hold_ids_not_colours(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 2], [2, 255, 0]], dtype=np.uint8)
    image = Image.fromarray(ids, mode="P")
    image.putpalette([colour for index in range(256) for colour in (index * 7 % 256, 99, 255 - index)])
    image.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_raw_mask(tmp_path / "palette.png"), ids)


@pytest.mark.parametrize(
    ("dtype", "suffix", "value"),
    [
        (np.uint8, ".png", 200),
        (np.uint16, ".png", 40000),
        (np.uint16, ".tif", 40000),
        (np.int32, ".tif", -1),
        (np.bool_, ".png", 1),
        (np.bool_, ".tif", 1),
    ],
)
def test_masks_of_every_depth(tmp_path: Path, dtype: type, suffix: str, value: int) -> None:
    values = np.array([[value, 1], [1, 0]]).astype(dtype)
    read = read_raw_mask(save(tmp_path / f"mask{suffix}", values))
    assert np.issubdtype(read.dtype, np.integer)
    np.testing.assert_array_equal(read, values)


def test_a_mask_of_colours_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "colour.png", np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(DataError, match=r"colour\.png: a mask holds one integer a pixel .* found mode RGB"):
        read_raw_mask(tmp_path / "colour.png")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    whole = save(tmp_path / "broken.png", noise).read_bytes()
    (tmp_path / "broken.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"broken\.png: mask cannot be read"):
        read_raw_mask(tmp_path / "broken.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(DataError, match=r"text\.png: not an image that Pillow can decode"):
        read_raw_mask(tmp_path / "text.png")


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_the_mapping_is_applied_and_what_it_does_not_list_is_counted(spec: DatasetSpec, dtype: type) -> None:
    mapped = replace(spec, label_mapping={7: 0, 8: 0, 9: 2, 3: 255})
    raw = np.array([[7, 8, 9], [3, 4, 4], [255, 0, 7]], dtype=dtype)
    labels, unlisted = map_labels(raw, mapped, "mask.png")
    np.testing.assert_array_equal(labels, [[0, 0, 2], [255, 255, 255], [255, 255, 0]])
    assert labels.dtype == np.uint8
    assert unlisted == {0: 1, 4: 2}  # 255 is ignore_index and needs no listing


def test_values_beyond_a_byte_are_mapped(spec: DatasetSpec) -> None:
    mapped = replace(spec, label_mapping={-1: 1, 70000: 2})
    labels, unlisted = map_labels(np.array([[-1, 70000, 258]], dtype=np.int32), mapped, "mask.png")
    assert labels.tolist() == [[1, 2, 255]]
    assert unlisted == {258: 1}


def test_every_raw_value_agrees_with_a_dictionary(spec: DatasetSpec) -> None:
    mapping = {raw: raw % 3 for raw in range(0, 200, 3)}
    raw = np.arange(256, dtype=np.uint8).reshape(16, 16)
    labels, _ = map_labels(raw, replace(spec, label_mapping=mapping), "mask.png")
    assert labels.reshape(-1).tolist() == [mapping.get(value, 255) for value in range(256)]


def test_a_mapping_of_a_million_values_is_looked_up(spec: DatasetSpec) -> None:
    mapping = dict.fromkeys(range(1_000_000), 1) | {5: 2}
    raw = np.array([[5, 6, 255, 999_999]], dtype=np.int32)
    labels, unlisted = map_labels(raw, replace(spec, label_mapping=mapping), "mask.png")
    assert labels.tolist() == [[2, 1, 1, 1]]
    assert unlisted == {}
    labels, unlisted = map_labels(raw, replace(spec, label_mapping={5: 0}), "mask.png")
    assert labels.tolist() == [[0, 255, 255, 255]]
    assert unlisted == {6: 1, 999_999: 1}


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_a_foreign_value_names_file_values_and_fix(tmp_path: Path, spec: DatasetSpec, dtype: type) -> None:
    path = save(tmp_path / "m.tif", np.array([[0, 1, 2, 255], [3, 3, 77, 0]], dtype=dtype))
    with pytest.raises(DataError) as caught:
        read_mask(path, spec)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "found 3, 77 on 3 pixels" in message
    assert "3: ignore_label" in message
    assert "\n" not in message


def test_sizes_that_differ_name_both_files(tmp_path: Path, spec: DatasetSpec) -> None:
    image = save(tmp_path / "i.png", np.zeros((4, 6, 3), np.uint8))
    mask = save(tmp_path / "m.png", np.zeros((6, 4), np.uint8))
    for check in (lambda s: s.read_pair(spec), lambda s: check_samples(spec, [s])):
        with pytest.raises(DataError) as caught:
            check(FileSample("i", image, mask))
        assert str(image) in str(caught.value)
        assert str(mask) in str(caught.value)
        assert "6x4 (HxW) against 4x6" in str(caught.value)
        assert "turned by 90 degrees" in str(caught.value)


def test_checking_samples_adds_up_what_is_unlisted(spec: DatasetSpec) -> None:
    samples = list_samples(spec, "train")
    assert check_samples(spec, samples) == {}
    unlisted = check_samples(replace(spec, label_mapping={0: 0, 1: 1}), samples)
    assert unlisted == {2: sum(int((read_raw_mask(s.mask) == 2).sum()) for s in samples)}


def test_real_cityscapes_pairs(cityscapes_samples: Path) -> None:
    helpers = pytest.importorskip(
        "cityscapesscripts.helpers.labels", reason="cityscapesscripts has the official label table"
    )
    spec = load_dataset_spec("cityscapes", cityscapes_samples)
    samples = list_samples(spec, "train")
    assert [sample.id for sample in samples] == [f"aachen_{i:06d}_000019" for i in range(4)]
    assert check_samples(spec, samples) == {}
    image, label = samples[0].read_pair(spec)
    assert image.shape == (1024, 2048, 3)
    raw = np.asarray(Image.open(samples[0].mask))
    train_ids = np.array([helpers.id2label[value].trainId for value in range(34)])
    np.testing.assert_array_equal(label, train_ids[raw])


def test_real_camvid_pairs(camvid: Path) -> None:
    spec = load_dataset_spec("camvid", camvid)
    assert [len(list_samples(spec, split)) for split in ("train", "val", "test")] == [367, 101, 233]
    assert check_samples(spec, list_samples(spec, "test")[:5]) == {}
