from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import effiseg.data.convert as convert
from effiseg.commands.data_convert import run
from effiseg.data.cache import SampleCache, StoredSize
from effiseg.data.cache_storage import CacheStorage
from effiseg.data.convert import convert_dataset
from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.samples import list_samples
from effiseg.data.statistics import split_statistics
from effiseg.errors import DataError, ResourceError, UsageError

PALETTE = [[9, 9, 9], [200, 0, 0], [0, 0, 200]]
SHAPE = (8, 12)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFFISEG_CACHE", str(tmp_path / "cache"))


def make(root: Path, mask_format: str) -> DatasetSpec:
    """Two splits with the same scene: ground (0), a box (1) and a triangle on it (2), in the given format."""
    values: dict[str, Any] = {"names": ["ground", "box", "triangle"], "palette": PALETTE, "mask_format": mask_format}
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:8, 3:9] = 1
    labels[np.tril_indices(4)] = 2
    noise = np.random.default_rng(0).integers(0, 256, (2, *SHAPE, 3), dtype=np.uint8)
    box, triangle = [3, 2, 9, 2, 9, 8, 3, 8], [0, -0.5, 4.5, 4, 0, 4]
    for split, pixels in zip(("train", "val"), noise, strict=True):
        values[split] = f"images/{split}"
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / "images" / split / "ein Bild ü.png")
        place = root / "labels" / split / "ein Bild ü"
        match mask_format:
            case "index":
                Image.fromarray(labels * 10).save(f"{place}.png")
                values["label_mapping"] = {0: 0, 10: 1, 20: 2}
            case "color":
                Image.fromarray(np.array(PALETTE, np.uint8)[labels]).save(f"{place}.png")
            case "yolo":
                size = SHAPE[::-1]
                lines = [
                    " ".join(str(value / size[index % 2]) for index, value in enumerate(points))
                    for points in (triangle, box)
                ]
                Path(f"{place}.txt").write_text(f"2 {lines[0]}\n1 {lines[1]}\n")
            case "coco":
                image = {"id": 1, "file_name": "ein Bild ü.png", "height": SHAPE[0], "width": SHAPE[1]}
                drawn = [
                    {"id": number, "image_id": 1, "category_id": number, "segmentation": [points]}
                    for number, points in ((2, triangle), (1, box))
                ]
                categories = [{"id": 1, "name": "box"}, {"id": 2, "name": "triangle"}]
                content = {"images": [image], "annotations": drawn, "categories": categories}
                (root / f"{split}.json").write_text(json.dumps(content))
                values["annotations"] = {"train": "train.json", "val": "val.json"}
    if mask_format in ("coco", "yolo"):
        values["background"] = "ground"
    (root / "my.yaml").write_text(yaml.safe_dump(values))
    return load_dataset_spec(root / "my.yaml")


@pytest.mark.parametrize("mask_format", ["index", "color", "coco", "yolo"])
def test_every_format_means_the_same_everywhere(tmp_path: Path, mask_format: str) -> None:
    plain = make(tmp_path / "plain", "index")
    spec = make(tmp_path / "other", mask_format)
    assert [sample.id for sample in list_samples(spec, "train")] == ["ein Bild ü"]
    for split in ("train", "val"):
        expected = list_samples(plain, split)[0].read_pair(plain)
        sample = list_samples(spec, split)[0]
        storage = CacheStorage("disk", tmp_path / "inputs")
        storage.folder.mkdir(exist_ok=True)
        cache = SampleCache(spec, storage, StoredSize((64, 64), "keep_ratio"))
        for image, label in (sample.read_pair(spec), cache.read_pair(sample)[:2], cache.read_pair(sample)[:2]):
            np.testing.assert_array_equal(image, expected[0])
            np.testing.assert_array_equal(label, expected[1])
        assert cache.count([sample]) == 1
        counted = split_statistics(spec, split).class_counts
        np.testing.assert_array_equal(counted, np.bincount(expected[1].reshape(-1), minlength=3))
        assert counted.min() > 0


@pytest.mark.parametrize("mask_format", ["index", "color", "coco", "yolo"])
@pytest.mark.parametrize("link", [False, True])
def test_what_is_written_decodes_to_the_same(tmp_path: Path, mask_format: str, link: bool) -> None:
    spec = make(tmp_path / "set", mask_format)
    assert convert_dataset(spec, tmp_path / "new" / "plain", link=link) == {"train": 1, "val": 1}
    written = load_dataset_spec(tmp_path / "new" / "plain" / "data.yaml")
    assert (written.names, written.palette, written.ignore_index) == (spec.names, spec.palette, spec.ignore_index)
    assert written.masks.name == "index"
    assert written.label_mapping is None
    for split in ("train", "val"):
        before, after = list_samples(spec, split)[0], list_samples(written, split)[0]
        assert after.id == before.id
        assert after.image.is_symlink() == link
        for first, second in zip(before.read_pair(spec), after.read_pair(written), strict=True):
            np.testing.assert_array_equal(first, second)
        with Image.open(after.mask) as mask:
            assert mask.mode == "P"
            np.testing.assert_array_equal(
                np.asarray(mask.convert("RGB")), np.array(PALETTE, np.uint8)[before.read_pair(spec)[1]]
            )
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["plain"]
    mode = (tmp_path / "new" / "plain").stat().st_mode
    assert mode == (tmp_path / "new").stat().st_mode


def test_turned_images_keep_their_labels(tmp_path: Path) -> None:
    spec = make(tmp_path / "set", "index")
    exif = Image.Exif()
    exif[0x0112] = 3
    sample = list_samples(spec, "train")[0]
    with Image.open(sample.image) as file:
        file.save(sample.image, exif=exif)
    with (tmp_path / "set" / "my.yaml").open("a") as stream:
        stream.write("mask_orientation: stored\n")
    spec = load_dataset_spec(tmp_path / "set" / "my.yaml")
    sample = list_samples(spec, "train")[0]
    convert_dataset(spec, tmp_path / "plain")
    written = load_dataset_spec(tmp_path / "plain" / "data.yaml")
    assert written.masks.orientation == "upright"
    for first, second in zip(sample.read_pair(spec), list_samples(written, "train")[0].read_pair(written), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device"), DataError("bad")])
def test_nothing_is_left_of_a_cut_conversion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    spec = make(tmp_path / "set", "index")

    def stop(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(convert, "write_yaml", stop)
    with pytest.raises((KeyboardInterrupt, DataError, ResourceError)):
        convert_dataset(spec, tmp_path / "out" / "plain")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_used_folder_is_not_touched(tmp_path: Path) -> None:
    spec = make(tmp_path / "set", "index")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "note.txt").write_text("mine")
    with pytest.raises(DataError, match=r"out: must be empty or new; found note\.txt"):
        convert_dataset(spec, tmp_path / "out")
    with pytest.raises(DataError, match=r"note\.txt: must be a folder, empty or new; found a file"):
        convert_dataset(spec, tmp_path / "out" / "note.txt")
    (tmp_path / "out" / "note.txt").unlink()
    assert convert_dataset(spec, tmp_path / "out") == {"train": 1, "val": 1}


def test_two_classes_may_be_0_and_255(tmp_path: Path) -> None:
    make(tmp_path / "set", "index")
    for split in ("train", "val"):
        mask = np.zeros(SHAPE, np.uint8)
        mask[:3] = 255
        Image.fromarray(mask).save(tmp_path / "set" / "labels" / split / "ein Bild ü.png")
    values = {"train": "images/train", "val": "images/val", "names": ["no", "yes"], "label_mapping": {0: 0, 255: 1}}
    (tmp_path / "set" / "two.yaml").write_text(yaml.safe_dump(values))
    spec = load_dataset_spec(tmp_path / "set" / "two.yaml")
    assert split_statistics(spec, "train").class_counts.tolist() == [60, 36]
    convert_dataset(spec, tmp_path / "plain")
    written = load_dataset_spec(tmp_path / "plain" / "data.yaml")
    assert np.unique(list_samples(written, "val")[0].read_pair(written)[1]).tolist() == [0, 1]


def test_the_command_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "set", "color")
    assert run([str(tmp_path / "set" / "my.yaml"), "--out", str(tmp_path / "a folder")]) == 0
    shown = capsys.readouterr().out
    assert f"{tmp_path / 'a folder'}: train 1, val 1, 3 classes" in shown
    assert f"--data '{tmp_path / 'a folder'}/data.yaml'" in shown
    with pytest.raises(UsageError, match="--out"):
        run([str(tmp_path / "set" / "my.yaml")])
