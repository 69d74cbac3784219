from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from effiseg.config.data import AugmentationConfig
from effiseg.data.dataset import (
    EvaluationDataset,
    LoaderError,
    SegmentationDataset,
    start_worker,
)
from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.reading import read_mask
from effiseg.data.samples import list_samples
from effiseg.data.transforms import sample_generator
from effiseg.errors import DataError

STANDARD = AugmentationConfig().filled_from("standard")


@pytest.fixture
def spec(make_dataset) -> DatasetSpec:
    return load_dataset_spec(make_dataset(sizes=((40, 60), (33, 47), (80, 50), (64, 96))))


def training(spec: DatasetSpec, seed: int = 0) -> SegmentationDataset:
    return SegmentationDataset(list_samples(spec, "train"), spec, (48, 64), "keep_ratio", STANDARD, seed)


def same(first: dict, second: dict) -> bool:
    return (
        torch.equal(first["image"], second["image"])
        and torch.equal(first["label"], second["label"])
        and first["id"] == second["id"]
    )


def test_items_have_the_documented_form(spec: DatasetSpec) -> None:
    dataset = training(spec)
    assert len(dataset) == 4
    item = dataset[(0, 1)]
    assert item["image"].shape == (3, 48, 64)
    assert item["label"].shape == (48, 64)
    assert item["image"].dtype == item["label"].dtype == torch.uint8
    assert item["id"] == "001"
    assert set(item["label"].unique().tolist()) <= {0, 1, 2, 255}


def test_a_sample_depends_on_seed_epoch_and_index_alone(spec: DatasetSpec) -> None:
    keys = [(epoch, index) for epoch in range(3) for index in range(4)]
    first = {key: training(spec)[key] for key in keys}
    np.random.seed(1)  # the global state that must not matter
    torch.manual_seed(1)
    dataset = training(spec)
    for key in reversed(keys):
        assert same(dataset[key], first[key])
    assert not same(dataset[(0, 0)], dataset[(1, 0)])
    assert not same(dataset[(0, 0)], training(spec, seed=1)[(0, 0)])
    streams = {tuple(sample_generator(*key).random(2)) for key in np.ndindex(3, 4, 5)}
    assert len(streams) == 60


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(spec: DatasetSpec, workers: int) -> None:
    dataset = training(spec)
    keys = [(2, index) for index in (3, 0, 2, 1)]
    loader = DataLoader(dataset, sampler=keys, batch_size=None, num_workers=workers, worker_init_fn=start_worker)
    for key, item in zip(keys, loader, strict=True):
        assert same(item, dataset[key])


def test_data_sets_can_be_sent_to_spawned_workers(spec: DatasetSpec) -> None:
    dataset = pickle.loads(pickle.dumps(training(spec)))
    assert same(dataset[(1, 1)], training(spec)[(1, 1)])


def test_evaluation_keeps_the_label_and_pads_the_image(spec: DatasetSpec) -> None:
    samples = list_samples(spec, "val")
    dataset = EvaluationDataset(samples, spec, (64, 64), "keep_ratio")
    assert [dataset[i].id for i in range(len(dataset))] == ["000", "001", "002", "003"]
    sizes = {sample.id: dataset[i].valid_size for i, sample in enumerate(samples)}
    assert sizes == {"000": (43, 64), "001": (45, 64), "002": (64, 40), "003": (43, 64)}
    for index, sample in enumerate(samples):
        item = dataset[index]
        assert item.image.dtype == item.label.dtype == torch.uint8
        assert all(side % 32 == 0 for side in item.image.shape[1:])
        assert torch.equal(item.label, torch.from_numpy(read_mask(sample.mask, spec)))


def test_a_bad_mask_met_by_a_worker_is_still_one_line(spec: DatasetSpec) -> None:
    from PIL import Image

    samples = list_samples(spec, "train")
    Image.fromarray(np.full((33, 47), 9, np.uint8)).save(samples[1].mask)
    for workers in (0, 1):
        loader = DataLoader(
            training(spec),
            sampler=[(0, 1)],
            batch_size=None,
            num_workers=workers,
            worker_init_fn=start_worker,
        )
        with pytest.raises(DataError) as caught:
            list(loader)
        assert str(caught.value).startswith(f"{samples[1].mask}: mask values must be")
        assert "\n" not in str(caught.value)
    assert isinstance(caught.value, LoaderError)


def test_cityscapes_samples_become_batches(cityscapes_samples: Path) -> None:
    spec = load_dataset_spec("cityscapes", cityscapes_samples)
    samples = list_samples(spec, "train")
    item = SegmentationDataset(samples, spec, (256, 512), "keep_ratio", STANDARD, 0)[(0, 3)]
    assert item["image"].shape == (3, 256, 512)
    assert all(value < 19 or value == 255 for value in item["label"].unique().tolist())
    evaluated = EvaluationDataset(samples, spec, (256, 512), "keep_ratio")[0]
    assert evaluated.image.shape == (3, 256, 512)
    assert evaluated.label.shape == (1024, 2048)
