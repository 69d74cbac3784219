"""The embedded scenes: reproducible, official ids only, every class, a long tail, readable as Cityscapes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from effiseg.commands import data_synthesize
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.samples import list_samples
from effiseg.errors import DataError, UsageError
from effiseg.scenes.synthetic import MANIFEST, draw_scene, scene_paths, scene_rng, synthesize

SCENES = 150


@pytest.fixture(scope="module")
def label_counts() -> NDArray[np.int64]:
    """(SCENES, 256) pixels of every raw id in every scene."""
    counts = np.zeros((SCENES, 256), np.int64)
    for index in range(SCENES):
        _, label = draw_scene(scene_rng(0, "train", index), 128, 256)
        counts[index] = np.bincount(label.ravel(), minlength=256)
    return counts


def digest(seed: int, split: str, index: int, height: int = 64, width: int = 128) -> str:
    image, label = draw_scene(scene_rng(seed, split, index), height, width)
    return hashlib.sha256(image.tobytes() + label.tobytes()).hexdigest()


def test_same_seed_same_pixels_and_every_scene_its_own() -> None:
    keys = [(seed, split, index) for seed in (0, 1) for split in ("train", "val") for index in range(3)]
    first = [digest(*key) for key in keys]
    assert first == [digest(*key) for key in keys]
    assert len(set(first)) == len(keys)


def test_only_official_ids(label_counts: NDArray[np.int64]) -> None:
    labels = pytest.importorskip("cityscapesscripts.helpers.labels", reason="cityscapesscripts has the official ids")
    official = {label.id for label in labels.labels if label.id >= 0}
    assert set(np.flatnonzero(label_counts.sum(axis=0)).tolist()) <= official


def test_all_classes_occur_and_some_pixels_are_ignored(label_counts: NDArray[np.int64], tmp_path: Path) -> None:
    mapping = load_dataset_spec("cityscapes", _small_folder(tmp_path)).label_mapping
    assert mapping is not None
    raw_of = {train: raw for raw, train in mapping.items() if train != 255}
    present = (label_counts > 0).sum(axis=0)
    assert all(present[raw_of[train]] >= 3 for train in range(19))
    ignored = [raw for raw, train in mapping.items() if train == 255 and raw >= 0]
    share = label_counts[:, ignored].sum() / label_counts.sum()
    assert 0.01 < share < 0.15


def test_long_tail(label_counts: NDArray[np.int64]) -> None:
    road, building, vegetation, car = 7, 11, 21, 26
    rare = {
        "traffic light": 19,
        "rider": 25,
        "truck": 27,
        "bus": 28,
        "train": 31,
        "motorcycle": 32,
        "bicycle": 33,
    }
    classes = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    counts = label_counts.sum(axis=0)
    shares = counts / counts[classes].sum()
    assert shares[road] > 0.25
    assert min(shares[building], shares[vegetation]) > shares[car] > 0.03
    assert all(shares[raw] < 0.015 for raw in rare.values())
    assert shares[road] / min(shares[raw] for raw in rare.values()) > 100


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (96, 80), (160, 512), (200, 101)])
def test_any_size(height: int, width: int) -> None:
    for index in range(4):
        image, label = draw_scene(scene_rng(3, "val", index), height, width)
        assert (image.shape, image.dtype) == ((height, width, 3), np.uint8)
        assert (label.shape, label.dtype) == ((height, width), np.uint8)
        assert image.std() > 5
        assert len(np.unique(label)) >= 4


def test_larger_image_shows_the_same_street() -> None:
    for index in range(4):
        image, label = draw_scene(scene_rng(0, "train", index), 96, 192)
        large_image, large_label = draw_scene(scene_rng(0, "train", index), 288, 576)
        agree = (large_label[1::3, 1::3] == label).mean()
        assert agree > 0.95
        small = cv2.resize(large_image, (192, 96), interpolation=cv2.INTER_AREA)
        assert np.abs(small.astype(float) - image).mean() < 12


def test_class_borders_lie_on_image_edges() -> None:
    """Moved by one pixel to either side, the label's borders meet weaker edges of the image."""
    shifts = range(-3, 4)
    strength = np.zeros(len(shifts))
    for index in range(12):
        image, label = draw_scene(scene_rng(0, "train", index), 128, 256)
        grey = cv2.GaussianBlur(image, (0, 0), 0.7).astype(np.float64).mean(axis=2)
        for axis in (0, 1):
            change = np.abs(np.diff(grey, axis=axis))
            border = np.diff(label.astype(int), axis=axis) != 0
            strength += [change[np.roll(border, shift, axis=axis)].mean() for shift in shifts]
    assert strength.argmax() == 3  # shift 0
    assert strength[3] > 1.3 * max(strength[2], strength[4])
    assert abs(strength[2] / strength[4] - 1.0) < 0.15


def test_colour_alone_does_not_tell_the_classes() -> None:
    """The best guess from a pixel's colour, learnt on the very same pixels, stays far from the classes."""
    classes = np.zeros((16, 16, 16, 34), np.int64)
    for index in range(40):
        image, label = draw_scene(scene_rng(0, "train", index), 64, 128)
        red, green, blue = (image.reshape(-1, 3) // 16).T
        np.add.at(classes, (red, green, blue, label.ravel()), 1)
    table = classes.reshape(-1, 34)
    guess = table.argmax(axis=1)
    found = np.array([table[guess == raw, raw].sum() for raw in range(34)])
    union = table.sum(axis=0) + np.array([table[guess == raw].sum() for raw in range(34)]) - found
    trained = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    assert np.mean(found[trained] / np.maximum(union[trained], 1)) < 0.2


def _small_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "scenes"
    synthesize(folder, {"train": 3, "val": 2}, 48, 96, seed=5)
    return folder


def test_folder_is_read_by_the_cityscapes_preset(tmp_path: Path) -> None:
    folder = _small_folder(tmp_path)
    spec = load_dataset_spec("cityscapes", folder)
    for split, count in (("train", 3), ("val", 2)):
        samples = list_samples(spec, split)
        assert [sample.id for sample in samples] == [f"synthetic_{i:06d}_000019" for i in range(count)]
        for index, sample in enumerate(samples):
            image, label = draw_scene(scene_rng(5, split, index), 48, 96)
            with Image.open(sample.mask) as mask:
                assert np.array_equal(np.asarray(mask), label)
            with Image.open(sample.image) as picture:
                assert np.array_equal(np.asarray(picture), image)


def test_cut_folder_is_completed(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        assert total == 5
        if done == 2:
            raise KeyboardInterrupt

    folder = tmp_path / "scenes"
    with pytest.raises(KeyboardInterrupt):
        synthesize(folder, {"train": 3, "val": 2}, 48, 96, seed=5, progress=stop)
    assert '"complete": false' in (folder / MANIFEST).read_text()
    kept = scene_paths(folder, "train", 0)[0]
    os.utime(kept, (1, 1))
    assert synthesize(folder, {"train": 3, "val": 2}, 48, 96, seed=5) == 3
    assert kept.stat().st_mtime == 1
    assert '"complete": true' in (folder / MANIFEST).read_text()
    assert synthesize(folder, {"train": 3, "val": 2, "test": 0}, 48, 96, seed=5) == 0


def test_refuses_what_is_not_its_own(tmp_path: Path) -> None:
    folder = _small_folder(tmp_path)
    with pytest.raises(DataError, match="seed there is 5, asked for is 6"):
        synthesize(folder, {"train": 3, "val": 2}, 48, 96, seed=6)
    with pytest.raises(DataError, match="must be empty or new; found scenes"):
        synthesize(tmp_path, {"train": 1}, 48, 96)
    (folder / MANIFEST).write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        synthesize(folder, {"train": 3, "val": 2}, 48, 96, seed=5)
    wrong: list[tuple[dict[str, int], tuple[int, int], int]] = [
        ({"all": 1}, (48, 96), 0),
        ({"train": 0}, (48, 96), 0),
        ({"train": -1}, (48, 96), 0),
        ({"train": 1}, (31, 96), 0),
        ({"train": 1}, (48, 96), -1),
    ]
    for counts, size, seed in wrong:
        with pytest.raises(DataError):
            synthesize(tmp_path / "new", counts, *size, seed=seed)
    assert not (tmp_path / "new").exists()


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "scenes"
    argv = [str(folder), "--train", "2", "--val", "1", "--size", "64x128", "--seed", "1"]
    assert data_synthesize.run(argv) == 0
    assert f"--data cityscapes --data_root {folder}" in capsys.readouterr().out
    assert len(list(folder.rglob("*_leftImg8bit.png"))) == 3
    assert data_synthesize.run(argv) == 0
    assert "all were there already" in capsys.readouterr().out
    name = str(folder)
    for wrong in (["--train", "2"], [name, "--trian", "2"], [name, "--train", "-2"], [name, "x"]):
        with pytest.raises(UsageError):
            data_synthesize.run(wrong)
