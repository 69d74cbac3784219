"""Training ends at the first loss that is not finite, and what was saved before stays; room is asked for first."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from effiseg.config.training import TrainConfig
from effiseg.errors import ResourceError, RunError
from effiseg.run_folder import RunFolder
from effiseg.training import run_keeper
from effiseg.training.checkpointing import load_checkpoint
from effiseg.training.finite_loss import FiniteLoss
from effiseg.training.segmentation_task import SegmentationTask
from effiseg.training.trainer import resume, train

Config = Callable[..., TrainConfig]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_first_loss_that_is_not_finite_ends_the_run(
    value: float, small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = SegmentationTask.supervised_terms
    config = small_config("run", checkpoint_minutes=0.0)  # saved after every step

    def spoilt(task: SegmentationTask, *arguments: Any) -> dict[str, torch.Tensor]:
        terms = original(task, *arguments)
        state = load_checkpoint(last)[3] if last.is_file() else None
        return {**terms, "loss": terms["loss"] * (value if state is not None and state.step == 2 else 1.0)}

    last = RunFolder(config.out).last_checkpoint
    with monkeypatch.context() as patch:
        patch.setattr(SegmentationTask, "supervised_terms", spoilt)
        with pytest.raises(RunError, match=rf"the loss of step 3 is not finite \(loss {value:g}; lr .*; samples \w+"):
            train(config)
    task, _, _, state = load_checkpoint(last)
    assert state.step == 2
    assert all(torch.isfinite(tensor).all() for tensor in task.values())
    assert len(resume(config.out).read_metrics()) == config.epochs


def test_weights_that_a_finite_loss_has_spoilt_are_not_saved(
    small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(task: SegmentationTask) -> None:
        next(task.student.parameters()).data.fill_(float("nan"))

    config = small_config("run")
    monkeypatch.setattr(SegmentationTask, "after_optimizer_step", spoil)
    monkeypatch.setattr(run_keeper.FiniteLoss, "look", lambda *_: None)
    with pytest.raises(RunError, match=r"weights are not finite after step 3 \(student\.\S+, \d+ tensors in all\)"):
        train(config)
    assert not RunFolder(config.out).last_checkpoint.exists()


def test_a_gpu_is_waited_for_one_pass_later_or_before_saving(small_config: Config, tmp_path: Path) -> None:
    watch = FiniteLoss(small_config("run"), RunFolder(tmp_path), on_gpu=True)
    bad = {"loss": torch.tensor(float("nan")), "dice": torch.tensor(0.5)}
    watch.look(bad, ["a", "b"], 7, 0.001)
    with pytest.raises(RunError, match=r"step 7 is not finite \(loss nan, dice 0\.5; lr 0\.001; samples a, b\)"):
        watch.look({"loss": torch.tensor(1.0)}, ["c"], 8, 0.001)
    watch.look(bad, ["a"], 9, 0.001)
    with pytest.raises(RunError, match="step 9"):
        watch.before_saving(torch.nn.Linear(1, 1), 9)


def test_room_for_checkpoints_is_asked_for_before_training(
    small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config("run")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
        patch.setattr(SegmentationTask, "training_step", None)
        with pytest.raises(ResourceError, match=r"run: checkpoints need \d+ MB, and the disk has 1 MB free; free some"):
            train(config)
    assert resume(config.out).results.is_file()
