"""Pictures without masks: where they come from, in which order, and how they are varied."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from effiseg.config.data import AugmentationConfig
from effiseg.config.loss import DistillationConfig
from effiseg.config.training import TrainConfig
from effiseg.data.batch_sampler import TrainingBatchSampler
from effiseg.data.check import check_dataset
from effiseg.data.convert import convert_dataset
from effiseg.data.datamodule import SegmentationDataModule
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.transforms import PADDING_COLOUR, TrainingTransform
from effiseg.data.unlabeled import UnlabeledImages, UnlabeledKey, UnlabeledOrder
from effiseg.data.unlabeled_samples import list_unlabeled
from effiseg.errors import DataError, ResourceError, UsageError


@pytest.fixture
def data(colour_data: Path, tmp_path: Path) -> Path:
    """A copy of `colour_data` whose YAML file names the pictures of test as unlabeled."""
    shutil.copytree(colour_data.parent, tmp_path / "data")
    shutil.copytree(colour_data.parent / "images" / "test", tmp_path / "data" / "extra")
    file = tmp_path / "data" / "data.yaml"
    file.write_text(file.read_text() + "unlabeled: extra\n")
    return file


def module(file: Path, **changes: Any) -> SegmentationDataModule:
    options = {
        "image_size": "32x64", "batch_size": 4, "epochs": 2, "workers": 0, "device": "cpu",
        "distillation": DistillationConfig(kl_weight=1),
    } | changes  # fmt: skip
    made = SegmentationDataModule(TrainConfig(**options), load_dataset_spec(file))
    made.setup()
    return made


def batches(made: SegmentationDataModule) -> list[dict[str, Any]]:
    return list(made.train_dataloader())


def sampler(num_processes: int = 1, process_index: int = 0, accumulate: int = 1) -> TrainingBatchSampler:
    """Steps of 8 labelled images and 4 of 11 unlabeled pictures, 5 steps an epoch, 3 epochs."""
    share = num_processes * accumulate
    order = UnlabeledOrder(11, 4 // share, seed=5)
    return TrainingBatchSampler(
        43, 8 // share, 3, 5, num_processes=num_processes, process_index=process_index, accumulate=accumulate,
        unlabeled=order,
    )  # fmt: skip


def unlabeled_keys(batch: list[Any]) -> list[UnlabeledKey]:
    return [key for key in batch if isinstance(key, UnlabeledKey)]


def test_no_picture_comes_twice_before_all_came_once() -> None:
    shown = [key for batch in sampler() for key in unlabeled_keys(batch)]
    assert len(shown) == 3 * 5 * 4
    assert [key.cycle for key in shown] == [number // 11 for number in range(60)]
    cycles = [[key.picture for key in shown if key.cycle == cycle] for cycle in range(5)]
    assert all(sorted(cycle) == list(range(11)) for cycle in cycles)
    assert len(set(map(tuple, cycles))) == 5


@pytest.mark.parametrize(("epoch", "done"), [(0, 3), (1, 0), (2, 4)])
def test_from_a_position_comes_exactly_the_rest(epoch: int, done: int) -> None:
    rest = sampler()
    rest.set_position(epoch, done)
    assert list(rest) == list(sampler())[5 * epoch + done :]


@pytest.mark.parametrize(("processes", "accumulate"), [(2, 1), (1, 2), (2, 2), (4, 1)])
def test_a_step_has_the_same_pictures_however_many_processes_share_it(processes: int, accumulate: int) -> None:
    parts = [list(sampler(processes, index, accumulate)) for index in range(processes)]
    steps = [
        Counter(key for part in parts for batch in part[start : start + accumulate] for key in unlabeled_keys(batch))
        for start in range(0, len(parts[0]), accumulate)
    ]
    assert steps == [Counter(unlabeled_keys(batch)) for batch in sampler()]


def test_labelled_samples_are_what_they_are_without(data: Path) -> None:
    with_pictures, without = batches(module(data)), batches(module(data, unlabeled_ratio=0.0))
    assert len(with_pictures) == len(without) == 2 * 3
    for one, other in zip(with_pictures, without, strict=True):
        assert one["id"] == other["id"]
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["label"], other["label"])
        assert one["unlabeled"]["image"].shape == (4, 3, 32, 64)
        assert "unlabeled" not in other
    ids = Counter(itertools.chain.from_iterable(batch["unlabeled"]["id"] for batch in with_pictures))
    assert ids == {"scene000": 8, "scene001": 8, "scene002": 8}


def test_class_weights_see_the_labelled_images_alone(data: Path) -> None:
    counts = [module(data, unlabeled_ratio=ratio).mask_counts.classes for ratio in (1.0, 0.0)]
    assert len(counts[0]) == 14
    assert np.array_equal(*counts)


def test_student_and_teacher_see_one_geometry_and_colours_of_other_strength(data: Path) -> None:
    same = UnlabeledImages.of(batches(module(data))[0])
    assert same is not None
    assert same.student is same.teacher
    other = UnlabeledImages.of(batches(module(data, unlabeled_jitter=2.0))[0])
    assert other is not None
    assert torch.equal(other.teacher, same.teacher)
    assert not torch.equal(other.student, other.teacher)
    # Factor 0 leaves the colours alone; what remains is the geometry, which the teacher's view must have too.
    plain = UnlabeledImages.of(batches(module(data, unlabeled_jitter=0.0))[0])
    assert plain is not None
    padding = torch.tensor([124, 116, 104]).view(3, 1, 1)
    for student, teacher in zip(plain.student, plain.teacher, strict=True):
        assert torch.equal((student == padding).all(0), (teacher == padding).all(0))
        visible = ~(student == padding).all(0)
        correlation = np.corrcoef(student.sum(0)[visible], teacher.sum(0)[visible])[0, 1]
        assert correlation > 0.9


def test_views_have_one_geometry_and_colours_in_proportion() -> None:
    knobs = AugmentationConfig(brightness=0.2).filled_from("none")
    transform = TrainingTransform((32, 64), "keep_ratio", replace(knobs, flip_probability=0.5, shift_pixels=4))
    image = np.full((32, 64, 3), 100, np.uint8)
    image[:, :20] = 50
    for seed in range(8):
        views = transform.views(image, np.random.default_rng(seed), (0.0, 1.0, 2.0))
        plain, once, twice = (view.astype(int) for view in views)
        assert np.array_equal(np.unique(plain), np.unique([50, 100, *PADDING_COLOUR]))
        picture = (plain == 50) | (plain == 100)
        assert np.abs(twice - plain - 2 * (once - plain))[picture].max() <= 2  # rounding
        assert np.abs(once - plain)[picture].max() > 2
        assert np.array_equal(once[~picture], plain[~picture])
        mask = np.zeros((32, 64), np.uint8)
        assert np.array_equal(transform(image, mask, np.random.default_rng(seed))[0], views[1])


def test_cached_pictures_are_the_same(data: Path) -> None:
    settings: dict[str, Any] = {"augment": "paper"}
    plain, first = batches(module(data, **settings)), batches(module(data, **settings, cache="disk"))
    again = batches(module(data, **settings, cache="disk"))
    for one, two, three in zip(plain, first, again, strict=True):
        assert torch.equal(one["unlabeled"]["image"], two["unlabeled"]["image"])
        assert torch.equal(one["unlabeled"]["image"], three["unlabeled"]["image"])


def test_entries_are_folders_globs_and_lists(data: Path, tmp_path: Path) -> None:
    spec = load_dataset_spec(data)
    assert [sample.id for sample in list_unlabeled(spec, [])] == ["scene000", "scene001", "scene002"]
    (tmp_path / "some.txt").write_text(f"{data.parent}/extra/scene001.png\n{data.parent}/images/val/scene000.png\n")
    entries = [str(tmp_path / "some.txt"), str(data.parent / "extra" / "*1.png")]
    assert [sample.id for sample in list_unlabeled(spec, entries)] == ["scene001", "scene000"]
    # A suffix of the data set's own names is not asked of pictures that come from elsewhere.
    suffixed = replace(spec, image_suffix="_leftImg8bit")
    assert len(list_unlabeled(suffixed, [str(data.parent / "extra")])) == 3
    with pytest.raises(DataError, match=r"unlabeled must hold images .names ending in _leftImg8bit."):
        list_unlabeled(suffixed, [])


def test_an_empty_folder_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match=r"nothing: unlabeled must hold images .* found none among 0 image files"):
        module(data, unlabeled=[str(tmp_path / "nothing")])
    with pytest.raises(DataError, match=r"unlabeled must lead to images; found neither a folder nor a match for .*no"):
        module(data, unlabeled=[str(tmp_path / "no")])


def test_a_ratio_that_memory_cannot_hold_is_refused(data: Path) -> None:
    with pytest.raises(ResourceError, match=r"images of 32x64 in one pass need .* GB of memory or more"):
        module(data, unlabeled_ratio=1e9)


def test_notices(data: Path) -> None:
    (count,) = [line for line in module(data).notices if "unlabeled" in line]
    assert count.startswith("3 unlabeled pictures: 4 join the 4 labelled ones of every pass")
    folder = data.parent / "images"
    lines = module(data, unlabeled=[str(folder / "val"), str(folder / "train")]).notices
    (overlap,) = [line for line in lines if "one split" in line]
    assert "found 3 of 3 images of val in the unlabeled pictures too" in overlap
    assert not [line for line in module(data, unlabeled=[str(folder / "train")]).notices if "one split" in line]
    without = module(data, distillation=DistillationConfig())
    assert without.unlabeled_samples == []
    assert any("a run without a teacher cannot learn from them" in line for line in without.notices)


def test_check_examines_them_and_lets_them_stand_in_train(data: Path) -> None:
    extra = data.parent / "extra"
    shutil.copy(data.parent / "images" / "train" / "scene000.png", extra / "learnt.png")
    shutil.copy(data.parent / "images" / "val" / "scene000.png", extra / "evaluated.png")
    shutil.rmtree(data.parent / "images" / "test")  # whose pictures these are
    (data.parent / "data.yaml").write_text(data.read_text().replace("test: images/test\n", ""))
    content = (extra / "scene001.png").read_bytes()
    (extra / "scene001.png").write_bytes(content[: len(content) // 2])
    report = check_dataset(load_dataset_spec(data), processes=1)
    assert report.unlabeled == report.to_dict()["unlabeled"] == 5
    assert report.images == {"train": 14, "val": 3}
    assert [(finding.kind, finding.splits) for finding in report.faults] == [
        ("unreadable_image", ("unlabeled",)), ("shared_image", ("val", "unlabeled"))
    ]  # fmt: skip
    assert not [finding for finding in report.warnings if "unlabeled" in finding.splits]
    shutil.rmtree(extra)
    extra.mkdir()
    (fault,) = check_dataset(load_dataset_spec(data), processes=1).faults
    assert (fault.kind, fault.splits) == ("split", ("unlabeled",))


def test_convert_takes_them_along(data: Path, tmp_path: Path) -> None:
    assert convert_dataset(load_dataset_spec(data), tmp_path / "plain", processes=1) == {
        "train": 14,
        "val": 3,
        "test": 3,
    }
    converted = list_unlabeled(load_dataset_spec(tmp_path / "plain" / "data.yaml"), [])
    originals = list_unlabeled(load_dataset_spec(data), [])
    assert [sample.id for sample in converted] == [sample.id for sample in originals]
    for one, other in zip(converted, originals, strict=True):
        assert np.array_equal(one.read_image(), other.read_image())
    assert not (tmp_path / "plain" / "labels" / "unlabeled").exists()


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"unlabeled_ratio": 0.3}, r"whole number of pictures a pass; found 0.3 × 4 images: take a multiple of 1/4"),
        ({"unlabeled_ratio": -1.0}, "unlabeled_ratio must be at least 0"),
        ({"unlabeled_jitter": 4.0}, r"unlabeled_jitter 4 is too large: augmentation.brightness must be .*found 1.2"),
        ({"unlabeled_jitter": 2.0, "augment": "paper"}, "colours that the augmentation does not vary"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], found: str) -> None:
    with pytest.raises(UsageError, match=found):
        TrainConfig(batch_size=4, **settings)
