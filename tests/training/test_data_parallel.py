"""Two processes equal one at equal global batch."""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from effiseg.config.loss import DistillationConfig, LossConfig
from effiseg.config.model import ModelConfig
from effiseg.config.taper import TaperConfig
from effiseg.config.training import OptimizerConfig, TrainConfig
from effiseg.data.datamodule import SegmentationDataModule
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.errors import EffisegError, Interrupted
from effiseg.files import read_json, read_yaml, write_yaml
from effiseg.run_folder import RunFolder
from effiseg.training import run_keeper
from effiseg.training.checkpointing import read_tensors
from effiseg.training.step_timing import TIME_COLUMNS
from effiseg.training.sync_batch_norm import CrossProcessBatchNorm2d, synchronize_batch_norm
from effiseg.training.trainer import resume, train

Config = Callable[..., TrainConfig]
WORKER = Path(__file__).with_name("batch_norm_worker.py")
# In float32 the order of sums over pixels shows: 6 steps grow it to 5e-6 of weights that are below 1.
TOLERANCE = 2e-5
# Adam divides a gradient by its own size, so a parameter whose gradient is exactly 0 (a bias that batch
# normalization subtracts again) moves by pure rounding noise, unless ε is far above that noise.
OPTIMIZER = OptimizerConfig(eps=1e-4)


def assert_equal_runs(one: RunFolder, two: RunFolder) -> None:
    """Weights and averages, metrics and evaluations agree but for the order of sums."""
    ours, theirs = (read_tensors(run.last_checkpoint) for run in (one, two))
    assert ours["task"].keys() == theirs["task"].keys()
    for name, tensor in ours["task"].items():
        torch.testing.assert_close(theirs["task"][name], tensor, rtol=TOLERANCE, atol=TOLERANCE, msg=name)
    assert ours["state"]["step"] == theirs["state"]["step"] == 6
    rows, their_rows = (list(csv.DictReader(run.metrics.open(newline=""))) for run in (one, two))
    assert len(rows) == len(their_rows) == 2
    for row, their_row in zip(rows, their_rows, strict=True):
        assert row.keys() == their_row.keys()
        for name in row.keys() - {*TIME_COLUMNS, "val_miou", "val_pixel_accuracy"}:
            assert float(their_row[name]) == pytest.approx(float(row[name]), rel=TOLERANCE), name
        # One of val's 9216 pixels weighs up to 0.1 % of a class; its two best classes may tie within rounding.
        assert float(their_row["val_miou"]) == pytest.approx(float(row["val_miou"]), abs=0.1)
    matrices = [torch.tensor(read_json(run.results)["val"]["confusion"]) for run in (one, two)]
    assert (matrices[0] - matrices[1]).abs().sum() <= 4
    assert read_json(one.results)["val"]["images"] == read_json(two.results)["val"]["images"] == 3


def assert_moved(run: RunFolder, first: RunFolder) -> None:
    """The steps changed the weights by far more than the tolerance."""
    after, before = (read_tensors(folder.last_checkpoint)["task"] for folder in (run, first))
    moved = max(float((after[name] - before[name]).abs().max()) for name in after if name.endswith("weight"))
    assert moved > 50 * TOLERANCE


def stop_after_first_epoch(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run of one process, stopped after its first epoch as by a signal."""
    with monkeypatch.context() as patch:
        # Any true value: the run believes that a signal came once its first epoch is evaluated.
        patch.setattr(
            run_keeper.RunKeeper, "signal_received", property(lambda keeper: keeper.state.best_epoch is not None)
        )
        with pytest.raises(Interrupted, match="step 3 of 6"):
            train(config)
    return RunFolder(config.out)


@pytest.mark.heavy
def test_cross_entropy(small_config: Config, uneven_data: Path) -> None:
    settings: dict[str, Any] = {"data": str(uneven_data), "optimizer": OPTIMIZER, "ema_decay": 0.5}
    one = train(small_config("one", **settings))
    two = train(small_config("two", **settings, devices=2))
    assert_equal_runs(one, two)
    initial = train(small_config("initial", **settings | {"optimizer": replace(OPTIMIZER, lr=1e-12)}))
    assert_moved(one, initial)


@pytest.mark.heavy
def test_tapered_norms_measure_the_global_batch(small_config: Config, uneven_data: Path) -> None:
    model = ModelConfig(block_norm="dyl", drop_path_rate=0.0, classifier_dropout=0.0)
    taper = TaperConfig("block", hold=0.1, until=0.9)
    settings: dict[str, Any] = {"data": str(uneven_data), "optimizer": OPTIMIZER, "model": model, "taper": taper}
    one = train(small_config("one", **settings, ema_decay=0.5))
    two = train(small_config("two", **settings, ema_decay=0.5, devices=2))
    assert_equal_runs(one, two)
    assert float(read_tensors(two.last_checkpoint)["task"]["student.encoder.stages.0.norm.inverse_deviation"]) != 1


@pytest.mark.heavy
def test_everything_on_resumed_and_accumulated(
    small_config: Config, uneven_data: Path, teacher_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All strategies, KL, unlabeled pictures; two processes go on from a checkpoint of one, in two passes a step."""
    config = small_config(
        "one",
        data=str(uneven_data),
        teacher=str(teacher_run),
        unlabeled=[str(uneven_data.parent / "images" / "test")],
        workers=1,
        accumulate=2,
        optimizer=replace(OPTIMIZER, gradient_clip_norm=1.0),
        model=ModelConfig(patch_norm="dyt", block_norm="dyl", drop_path_rate=0.0, classifier_dropout=0.0),
        loss=LossConfig(name="dice_focal"),
        distillation=DistillationConfig(kl_weight=0.5, feature_weight=1.0, patch_embedding_weight=1.0),
    )
    one = train(config)
    two = stop_after_first_epoch(replace(config, out=str(one.path.parent / "two")), monkeypatch)
    write_yaml(two.config, read_yaml(two.config) | {"devices": 2})
    resume(two.path)
    assert_equal_runs(one, two)


@pytest.mark.heavy
def test_a_corrupt_image_is_the_users_error_also_in_a_spawned_process(
    small_config: Config, uneven_data: Path, tmp_path: Path
) -> None:
    config = small_config("run", data=str(uneven_data), devices=2, epochs=1)
    data = SegmentationDataModule(config, load_dataset_spec(config.data))
    data.setup("fit")
    batches = list(data._sampler(14, process_index=1))
    sample = data.train_samples[batches[-1][0][1]]
    content = sample.image.read_bytes()
    sample.image.write_bytes(b"no image")
    try:
        with pytest.raises(EffisegError) as caught:
            train(config)
    finally:
        sample.image.write_bytes(content)
    assert str(sample.image) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_batch_normalization_over_processes(tmp_path: Path) -> None:
    workers = [subprocess.Popen([sys.executable, str(WORKER), str(rank), str(tmp_path)]) for rank in range(2)]
    try:
        assert [worker.wait(timeout=240) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    specification = importlib.util.spec_from_file_location("batch_norm_worker", WORKER)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    layer, images, coefficients = module.layer_and_data()
    whole = module.train_twice(layer, images, coefficients)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for name in ("output", "image_gradient"):
        torch.testing.assert_close(torch.cat([first[name], second[name]]), whole[name], rtol=1e-12, atol=1e-12)
    for name in ("weight_gradient", "bias_gradient"):
        torch.testing.assert_close(first[name] + second[name], whole[name], rtol=1e-12, atol=1e-12)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        for process in (first, second):
            torch.testing.assert_close(process[name], whole[name], rtol=1e-12, atol=1e-12)
    # The case can fail: each process's own statistics give other outputs.
    layer, images, _ = module.layer_and_data()
    assert not torch.allclose(layer(images[:1]), first["output"], rtol=1e-2)


def test_in_one_process_the_layer_is_torchs_own() -> None:
    torch.manual_seed(0)
    ours, images = nn.Sequential(nn.BatchNorm2d(3)), torch.randn(2, 3, 4, 4)
    theirs = nn.Sequential(nn.BatchNorm2d(3))
    parameters = [id(p) for p in ours.parameters()]
    synchronize_batch_norm(ours, "cpu")
    assert type(ours[0]) is CrossProcessBatchNorm2d
    assert [id(p) for p in ours.parameters()] == parameters
    for training in (True, False):
        assert torch.equal(ours.train(training)(images), theirs.train(training)(images))
