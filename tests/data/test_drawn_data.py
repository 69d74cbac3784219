"""Data sets that are drawn while they are read: a sample is a function of (seed, epoch, place) alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from effiseg.config.training import TrainConfig
from effiseg.data import drawn_data
from effiseg.data.datamodule import SegmentationDataModule
from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec, with_images_per_epoch
from effiseg.data.mask_counts import count_masks
from effiseg.data.samples import list_samples
from effiseg.errors import DataError, UsageError
from effiseg.scenes.pictures import FAMILIES

Batches = list[tuple[list[str], torch.Tensor, torch.Tensor]]


def described(folder: Path, text: str) -> DatasetSpec:
    path = folder / "drawn.yaml"
    path.write_text(text)
    return load_dataset_spec(path)


def small(folder: Path, more: str = "") -> DatasetSpec:
    return described(folder, f"drawn: {{pictures: {{scenes: 2, shapes: 1}}, size: 32x64, train: 12, val: 3{more}}}\n")


def batches(spec: DatasetSpec, *, workers: int = 0, start: tuple[int, int] = (0, 0), seed: int = 5) -> Batches:
    """All batches of two epochs from a position on."""
    config = TrainConfig(
        data="drawn", out="unused", image_size="32x64", batch_size=4, epochs=2, workers=workers, seed=seed, device="cpu"
    )
    data = SegmentationDataModule(config, spec)
    data.setup("fit")
    data.set_position(*start)
    return [(batch["id"], batch["image"], batch["label"]) for batch in data.train_dataloader()]


def equal(a: Batches, b: Batches) -> bool:
    return len(a) == len(b) and all(
        x[0] == y[0] and torch.equal(x[1], y[1]) and torch.equal(x[2], y[2]) for x, y in zip(a, b, strict=True)
    )


def test_workers_change_no_sample(tmp_path: Path) -> None:
    spec = small(tmp_path, ", reuse: 2")
    alone = batches(spec)
    assert len(alone) == 6
    assert all(equal(alone, batches(spec, workers=workers)) for workers in (1, 2, 3))


def test_a_run_that_goes_on_sees_what_it_would_have_seen(tmp_path: Path) -> None:
    spec = small(tmp_path)
    assert equal(batches(spec)[4:], batches(spec, workers=1, start=(1, 1)))


def test_the_pool_changes_no_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = small(tmp_path, ", reuse: 3")
    with_pool = batches(spec)
    monkeypatch.setattr(drawn_data, "_POOL_BYTES", 0)
    assert equal(with_pool, batches(spec))


def test_another_seed_and_another_epoch_show_other_pictures(tmp_path: Path) -> None:
    spec = small(tmp_path)
    sample = list_samples(spec, "train")[0]
    images = [sample.of_epoch(seed, epoch).read_image() for seed in (0, 1) for epoch in (0, 1)]
    assert len({image.tobytes() for image in images}) == 4


def test_reuse_shows_a_picture_again_under_another_augmentation(tmp_path: Path) -> None:
    spec = small(tmp_path, ", reuse: 3")
    for epoch in (0, 1):
        pictures = [sample.of_epoch(5, epoch).read_image().tobytes() for sample in list_samples(spec, "train")]
        assert len(set(pictures)) == 4
        assert all(pictures.count(picture) == 3 for picture in pictures)
    shown = [image.numpy().tobytes() for _, images, _ in batches(spec) for image in images]
    assert len(set(shown)) == len(shown)


def test_val_is_the_same_for_every_run(tmp_path: Path) -> None:
    val = list_samples(small(tmp_path), "val")
    assert [sample.read_image().shape for sample in val] == [(32, 64, 3)] * 3
    train = [sample.read_image().tobytes() for sample in list_samples(small(tmp_path), "train")]
    assert not {sample.read_image().tobytes() for sample in val} & set(train)


def test_a_mixture_has_its_ratio_and_all_classes(tmp_path: Path) -> None:
    spec = small(tmp_path)
    assert spec.names == (*FAMILIES["scenes"], *FAMILIES["shapes"])
    samples = list_samples(spec, "train")
    families = [int(sample.read_labels(spec).label.min()) >= len(FAMILIES["scenes"]) for sample in samples]
    assert families == [False, False, True] * 4


def test_classes_can_be_merged(tmp_path: Path) -> None:
    spec = described(
        tmp_path,
        "drawn: {pictures: scenes, size: 64x128, train: 4}\nnames: [ground, rest]\nignore_index: 7\n"
        "label_mapping: {0-1: 0-1, 2: ignore_label, 3: 1}\n",
    )
    values = set()
    for sample in list_samples(spec, "train"):
        values |= set(np.unique(sample.read_labels(spec).label).tolist())
    assert values == {0, 1, 7}


@pytest.mark.parametrize("name", ["scenes", "shapes", "pretraining"])
def test_presets_need_no_folder(name: str) -> None:
    spec = load_dataset_spec(name)
    assert spec.drawn is not None
    assert spec.num_classes == len(spec.drawn.names)
    sample = list_samples(spec, "val")[0]
    image, label = sample.read_pair(spec)
    assert image.shape[:2] == label.shape == (128, 256)
    other = load_dataset_spec("pretraining" if name != "pretraining" else "scenes")
    assert not np.array_equal(image, list_samples(other, "val")[0].read_image())


def test_pictures_of_an_epoch_are_a_setting(tmp_path: Path) -> None:
    spec = small(tmp_path)
    assert len(list_samples(with_images_per_epoch(spec, 7), "train")) == 7
    assert with_images_per_epoch(spec, None) is spec


def test_labels_are_counted_as_those_of_files(tmp_path: Path) -> None:
    spec = small(tmp_path)
    samples = list_samples(spec, "val")
    counts = count_masks(spec, samples, processes=1)
    assert counts.classes.sum() + counts.ignored.sum() == 3 * 32 * 64


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("drawn: houses\n", "scenes or shapes"),
        ("drawn: {scenes: 0}\n", "their parts"),
        ("drawn: {pictures: scenes, sise: 64x64}\n", "'sise'"),
        ("drawn: {pictures: scenes, size: 8x8}\n", "at least 32x32"),
        ("drawn: {pictures: scenes, train: 0}\n", "train of drawn"),
        ("drawn: {pictures: scenes, train: true}\n", "train of drawn"),
        ("drawn: {pictures: scenes, space: mine}\n", "space of drawn"),
        ("drawn: scenes\nmasks_dir: labels\n", "masks_dir beside drawn"),
        ("drawn: scenes\nnames: [road, sky]\n", "no label_mapping"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        described(tmp_path, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("settings", [{"cache": "ram"}, {"sampler": "rare_class"}])
def test_what_wants_files_is_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    config = TrainConfig(data="drawn", out="unused", image_size="32x64", batch_size=4, **settings)
    with pytest.raises(UsageError, match="new in every epoch"):
        SegmentationDataModule(config, small(tmp_path)).setup("fit")
