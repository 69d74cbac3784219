"""A run that an earlier version began and this one ends: its settings and its checkpoint's keys are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from effiseg.config.parsing import field_names, read_settings
from effiseg.config.training import TrainConfig
from effiseg.files import read_yaml
from effiseg.nested import flatten
from effiseg.run_folder import RunFolder
from effiseg.runs import Run
from effiseg.training.checkpointing import read_tensors, write_tensors
from effiseg.training.trainer import resume

OLD = Path(__file__).parent / "old_run"


def written_out(value: Any) -> Any:
    """The checkpoint with memory of its own for every tensor: in the file one number stands for many."""
    if isinstance(value, dict):
        return {key: written_out(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(written_out(item) for item in value)
    return value.contiguous() if isinstance(value, torch.Tensor) else value


@pytest.fixture
def old_run(colour_data: Path, teacher_run: Path, tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    text = (OLD / "config.yaml").read_text(encoding="utf-8")
    run.checkpoints.mkdir(parents=True)
    for word, path in (("DATA", colour_data), ("TEACHER", teacher_run), ("OUT", run.path)):
        text = text.replace(word, str(path))
    run.config.write_text(text, encoding="utf-8")
    write_tensors(run.last_checkpoint, written_out(read_tensors(OLD / "checkpoints" / "last.ckpt")))
    return run


def test_settings_mean_what_they_meant(old_run: RunFolder) -> None:
    config = read_settings(TrainConfig, old_run.config)
    written = flatten(read_yaml(old_run.config))
    assert set(written) <= set(field_names(TrainConfig))
    assert (config.recipe, config.precision, config.cache, config.epochs) == ("combined", "float32", "off", 4)
    assert (config.model.patch_norm, config.model.block_norm, config.loss.name) == ("dyt", "dyl", "dice_focal")
    assert config.distillation.patch_embedding_stage_weights == [0.1, 0.1, 0.5, 1.0]
    assert config.optimizer.eps == 1e-8


def test_it_goes_on_from_its_checkpoint(old_run: RunFolder) -> None:
    before = read_tensors(old_run.last_checkpoint)["state"]["history"]
    assert resume(old_run.path).path == old_run.path
    run = Run(old_run.path)
    assert run.finished
    assert [row["epoch"] for row in run.metrics] == [1, 2, 3, 4]
    assert [row["loss"] for row in run.metrics[:3]] == [pytest.approx(row["loss"], rel=1e-5) for row in before]
    assert read_tensors(old_run.last_checkpoint)["state"]["step"] == 12
