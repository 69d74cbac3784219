"""Training on shards: every sample once an epoch, also after a cut, and a teacher as the only supervision."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from torch.utils.data import DataLoader

from effiseg.config.data import AugmentationConfig
from effiseg.config.loss import DistillationConfig
from effiseg.config.training import TrainConfig
from effiseg.data.batch_sampler import TrainingBatchSampler
from effiseg.data.dataset import SegmentationDataset, start_worker
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.picture_sources import spec_of_pictures
from effiseg.data.sample_order import order_of
from effiseg.data.samples import list_samples
from effiseg.data.shards.writing import shard_dataset
from effiseg.errors import Interrupted, UsageError
from effiseg.files import read_json
from effiseg.training import run_keeper
from effiseg.training.checkpointing import read_tensors
from effiseg.training.trainer import resume, train

pytest.importorskip("webdataset")  # writes the shards
Config = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def sharded(colour_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The description of `colour_data` in several shards."""
    folder = tmp_path_factory.mktemp("sharded") / "shards"
    shard_dataset(load_dataset_spec(colour_data), folder, shard_mb=0.03, processes=1)
    return folder / "data.yaml"


def ids_seen(data: Path, process: int, processes: int, workers: int, epoch: int, first: int, last: int) -> list[str]:
    """The ids that one process sees from batch `first` up to `last` of an epoch, by a loader of its own."""
    spec = load_dataset_spec(data)
    samples = list_samples(spec, "train")
    sampler = TrainingBatchSampler(
        len(samples), 1, 2, 0, num_processes=processes, process_index=process, order=order_of(samples, 2)
    )
    sampler.set_position(epoch, first)
    knobs = AugmentationConfig().filled_from("none")
    dataset = SegmentationDataset(samples, spec, (32, 64), "keep_ratio", knobs, 0)
    loader = DataLoader(dataset, batch_sampler=sampler, num_workers=workers, worker_init_fn=start_worker)
    ids: list[str] = []
    for number, batch in enumerate(loader, start=first):
        if number == last:
            break
        ids += batch["id"]
    return ids


@pytest.mark.parametrize(("processes", "workers"), [(1, 0), (1, 1), (2, 2), (2, 3)])
def test_no_sample_is_lost_or_seen_twice(sharded: Path, processes: int, workers: int) -> None:
    """In each epoch, in all processes together, with a cut in the middle of the second one."""
    every = {sample.id for sample in list_samples(load_dataset_spec(sharded), "train")}
    batches = len(every) // processes
    for epoch, cut in ((0, batches), (1, 3)):
        seen = Counter[str]()
        for process in range(processes):
            seen.update(ids_seen(sharded, process, processes, workers, epoch, 0, cut))
            seen.update(ids_seen(sharded, process, processes, workers, epoch, cut, batches) if cut < batches else [])
        assert seen == Counter(every)


def test_a_cut_run_equals_an_uncut_one(small_config: Config, sharded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config("whole", data=str(sharded), shard_window=2, workers=1)
    whole = train(config)
    with monkeypatch.context() as patch:
        patch.setattr(run_keeper.RunKeeper, "signal_received", property(lambda keeper: keeper.state.step == 2))
        with pytest.raises(Interrupted, match="step 2 of 6"):
            train(replace(config, out=str(whole.path.parent / "cut")))
    cut = resume(whole.path.parent / "cut")
    ours, theirs = (read_tensors(run.last_checkpoint)["task"] for run in (whole, cut))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    assert read_json(whole.results)["val"]["confusion"] == read_json(cut.results)["val"]["confusion"]


def test_the_window_orders_training(small_config: Config, sharded: Path) -> None:
    windows = {"one": 1, "again": 1, "all": 16}
    runs = [train(small_config(n, data=str(sharded), shard_window=w, epochs=1)) for n, w in windows.items()]
    losses = [next(csv.DictReader(run.metrics.open(newline="")))["loss"] for run in runs]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("named", ["in the description", "in the settings"])
def test_a_teacher_is_the_only_supervision(
    small_config: Config, colour_data: Path, teacher_run: Path, tmp_path: Path, named: str
) -> None:
    folder = tmp_path / "pictures"
    shard_dataset(spec_of_pictures(str(colour_data.parent / "images" / "train")), folder, shard_mb=0.03, processes=1)
    described = yaml.safe_load(colour_data.read_text())
    values = {"path": str(colour_data.parent), "names": described["names"], "val": described["val"]}
    shards = str(folder / "unlabeled-*.tar")
    alone = tmp_path / "alone.yaml"
    alone.write_text(yaml.safe_dump(values | ({"unlabeled": shards} if named == "in the description" else {})))
    settings = {
        "data": str(alone),
        "teacher": str(teacher_run),
        "unlabeled": [shards] if named == "in the settings" else [],
        "distillation": DistillationConfig(kl_weight=1.0),
    }
    run = train(small_config("run", **settings))
    header, *rows = (line.split(",") for line in run.metrics.read_text().strip().split("\n"))
    of = [dict(zip(header, row, strict=True)) for row in rows]
    assert [float(row["supervised"]) for row in of] == [0, 0]
    assert float(of[1]["kl"]) < float(of[0]["kl"])
    assert read_json(run.results)["val"]["images"] == 3
    assert not run.class_statistics.exists()


def test_without_labels_and_teacher_nothing_can_be_learnt(
    small_config: Config, colour_data: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "alone.yaml"
    values = {"path": str(colour_data.parent), "names": ["a", "b", "c"], "unlabeled": "images/train"}
    alone.write_text(yaml.safe_dump(values))
    with pytest.raises(UsageError, match="has no split 'train'; unlabeled pictures alone are learnt from a teacher"):
        train(small_config("run", data=str(alone)))
