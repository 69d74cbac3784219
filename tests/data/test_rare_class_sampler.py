from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from effiseg.config.data import AUGMENTATION_PRESETS
from effiseg.config.training import TrainConfig
from effiseg.data.datamodule import SegmentationDataModule
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.rare_class_sampler import FOCUSED_SHARE, Draw, RareClassSampler
from effiseg.data.transforms import TrainingTransform

# Six images; class 2 in one of them only, class 3 in none.
COUNTS = np.array(
    [[80, 20, 0, 0], [100, 0, 0, 0], [60, 40, 0, 0], [95, 0, 5, 0], [100, 0, 0, 0], [70, 30, 0, 0]], np.uint32
)


def test_shares_follow_the_formula() -> None:
    shares = RareClassSampler(COUNTS, seed=0).focus_shares
    weights = 1 / np.log(1.10 + COUNTS.sum(axis=0)[:3] / 600)
    np.testing.assert_allclose(shares[:3], FOCUSED_SHARE * weights / weights.sum())
    assert shares[3] == 0
    assert shares[2] > shares[1] > shares[0]


def test_a_class_of_few_images_does_not_fill_the_epoch() -> None:
    counts = np.zeros((1000, 2), np.uint32)
    counts[:, 0] = 100
    counts[7, 1] = 1
    sampler = RareClassSampler(counts, seed=0)
    assert sampler.focus_shares[1] == 10 / 1000
    shown = sum(sampler.draw(epoch, place).focus == 1 for epoch in range(5) for place in range(1000))
    assert abs(shown - 50) < 5 * np.sqrt(50)


def test_draws_are_what_the_shares_say() -> None:
    sampler = RareClassSampler(COUNTS, seed=3)
    draws = [sampler.draw(epoch, place) for epoch in range(700) for place in range(6)]
    number = len(draws)
    for focus, share in enumerate(sampler.focus_shares):
        found = sum(draw.focus == focus for draw in draws)
        assert abs(found - number * share) <= 5 * np.sqrt(number * share * (1 - share))
    assert {draw.sample for draw in draws if draw.focus == 1} == {0, 2, 5}
    assert {draw.sample for draw in draws if draw.focus == 2} == {3}
    for place, draw in enumerate(draws):
        assert draw.focus is not None or draw.sample == place % 6


def test_a_draw_depends_on_seed_epoch_and_place_alone() -> None:
    forwards = [RareClassSampler(COUNTS, 1).draw(e, p) for e in range(20) for p in range(6)]
    sampler = RareClassSampler(COUNTS, 1)
    backwards = [sampler.draw(e, p) for e in reversed(range(20)) for p in reversed(range(6))]
    assert forwards == backwards[::-1]
    assert forwards != [RareClassSampler(COUNTS, 2).draw(e, p) for e in range(20) for p in range(6)]
    assert forwards[:60] != forwards[60:]


def test_without_any_label_an_epoch_is_as_it_was() -> None:
    sampler = RareClassSampler(np.zeros((3, 2), np.uint32), seed=0)
    assert [sampler.draw(0, place) for place in range(3)] == [Draw(place, None) for place in range(3)]


@pytest.mark.parametrize("corner", [(0, 0), (99, 199), (50, 3), (0, 199)])
def test_a_crop_holds_the_class_it_was_placed_on(corner: tuple[int, int]) -> None:
    mask = np.zeros((100, 200), np.uint8)
    mask[corner] = 1
    knobs = AUGMENTATION_PRESETS["standard"]
    enlarging = TrainingTransform((64, 128), "fixed", replace(knobs, scale_min=2.0, scale_max=4.0))
    image = np.repeat(mask[..., None], 3, axis=2)
    seen = 0
    for seed in range(30):
        _, labels = enlarging(image, mask, np.random.default_rng(seed), focus=1)
        assert (labels == 1).any()
        seen += bool((enlarging(image, mask, np.random.default_rng(seed))[1] == 1).any())
        np.testing.assert_array_equal(enlarging.crop_labels(mask, np.random.default_rng(seed), focus=1), labels)
    assert seen < 30
    absent = enlarging(image, mask, np.random.default_rng(0), focus=2)[1]
    np.testing.assert_array_equal(absent, enlarging(image, mask, np.random.default_rng(0))[1])


@pytest.fixture
def rare_data(make_dataset) -> Path:
    """Six images, a class in a corner of one of them alone."""
    file = make_dataset(classes=2, names=["plain", "rare"])
    for path in sorted((file.parent / "labels" / "train").iterdir()):
        mask = np.zeros((40, 60), np.uint8)
        mask[:4, :4] = path.stem == "004"
        Image.fromarray(mask).save(path)
    return file


def module(file: Path, **changes) -> SegmentationDataModule:
    options = {"image_size": "32x32", "batch_size": 2, "epochs": 8, "workers": 0, "device": "cpu"}
    return SegmentationDataModule(
        TrainConfig(**(options | {"sampler": "rare_class"} | changes)), load_dataset_spec(file)
    )


def collect(data: SegmentationDataModule) -> list[tuple[list[str], torch.Tensor, torch.Tensor]]:
    return [(batch["id"], batch["image"], batch["label"]) for batch in data.train_dataloader()]


def equal(first, second) -> bool:
    return len(first) == len(second) and all(
        a[0] == b[0] and torch.equal(a[1], b[1]) and torch.equal(a[2], b[2]) for a, b in zip(first, second, strict=True)
    )


def test_rare_classes_come_up_more_and_epochs_keep_their_length(rare_data: Path) -> None:
    def share(sampler: str) -> float:
        batches = collect(module(rare_data, sampler=sampler))
        assert len(batches) == 8 * 3
        return sum(int((labels == 1).sum()) for _, _, labels in batches)

    assert share("rare_class") > 2 * share("uniform") > 0


def test_batches_do_not_depend_on_workers_cache_or_where_the_run_was_cut(
    rare_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EFFISEG_CACHE", str(tmp_path / "cache"))
    whole = collect(module(rare_data))
    assert equal(collect(module(rare_data, workers=2)), whole)
    cut = module(rare_data, workers=1)
    cut.set_position(5, 1)
    assert equal(collect(cut), whole[16:])
    plain = collect(module(rare_data, augment="none"))
    assert equal(collect(module(rare_data, augment="none", cache="disk")), plain)


def test_two_processes_share_what_one_would_see(rare_data: Path) -> None:
    def ids(data: SegmentationDataModule, process: int) -> list[list[str]]:
        loader = data.train_dataloader()
        loader.batch_sampler.process_index = process
        return [batch["id"] for batch in loader]

    alone = ids(module(rare_data), 0)
    parts = [ids(module(rare_data, devices=2), process) for process in range(2)]
    assert [first + second for first, second in zip(*parts, strict=True)] == alone
