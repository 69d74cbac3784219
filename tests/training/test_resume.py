"""Interrupted = uninterrupted, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from effiseg.config.parsing import settings_dict
from effiseg.config.training import TrainConfig
from effiseg.errors import RunError
from effiseg.files import write_yaml
from effiseg.run_folder import RunFolder
from effiseg.training.checkpointing import read_tensors
from effiseg.training.step_timing import TIME_COLUMNS
from effiseg.training.trainer import resume

Command = Callable[..., "subprocess.CompletedProcess[str]"]
# The last of 14 // 4 = 3 steps of each epoch is step 3 of 3: a checkpoint after step 4 is mid-epoch.
HOLDER = """
import sys
from effiseg.files import exclusive_lock
with exclusive_lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def options(colour_data: Path, teacher_run: Path, small_options: tuple[str, ...]) -> list[str]:
    """A run with everything on that could make two runs differ: workers, drop path, average, teacher, pictures without
    labels, of which the three come round in the middle of epochs."""
    return [
        "--recipe", "combined_paper", "--data", str(colour_data), "--teacher", str(teacher_run), *small_options,
        "--workers", "2", "--epochs", "4", "--ema_decay", "0.9", "--distillation.kl_weight", "0.5",
        "--checkpoint_minutes", "0", "--unlabeled", str(colour_data.parent / "images" / "test"),
        "--unlabeled_ratio", "0.5", "--unlabeled_jitter", "2",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def whole(options: list[str], tmp_path_factory: pytest.TempPathFactory, effiseg_command: Command) -> RunFolder:
    run = RunFolder(tmp_path_factory.mktemp("whole") / "run")
    done = effiseg_command("train", *options, "--out", run.path)
    assert done.returncode == 0, done.stderr
    return run


def wait_for_step(run: RunFolder, step: int) -> None:
    """Until the checkpoint of some step ≥ `step` lies there."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if run.last_checkpoint.is_file() and read_tensors(run.last_checkpoint)["state"]["step"] >= step:
            return
        time.sleep(0.01)
    raise AssertionError(f"no checkpoint of step {step} in two minutes")


def start(options: list[str], run: RunFolder) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "effiseg", "train", *options, "--out", str(run.path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip


def assert_equal_runs(one: RunFolder, other: RunFolder) -> None:
    """Every tensor and number of the last checkpoints is the same, apart from measured times."""

    def compare(a: Any, b: Any, where: str) -> None:
        if isinstance(a, dict):
            assert a.keys() == b.keys(), where
            for key in a.keys() - {"train_seconds", *TIME_COLUMNS}:
                compare(a[key], b[key], f"{where}.{key}")
        elif isinstance(a, list | tuple):
            assert len(a) == len(b), where
            for index, pair in enumerate(zip(a, b, strict=True)):
                compare(*pair, f"{where}[{index}]")
        elif isinstance(a, torch.Tensor):
            assert torch.equal(a, b), where
        else:
            assert a == b, where

    compare(read_tensors(one.last_checkpoint), read_tensors(other.last_checkpoint), "checkpoint")
    assert (one.model / "model.safetensors").read_bytes() == (other.model / "model.safetensors").read_bytes()


def test_kill_mid_epoch_and_resume(
    options: list[str], whole: RunFolder, tmp_path: Path, effiseg_command: Command
) -> None:
    run = RunFolder(tmp_path / "run")
    process = start(options, run)
    try:
        wait_for_step(run, 4)
    finally:
        process.kill()
        process.communicate()
    step = read_tensors(run.last_checkpoint)["state"]["step"]
    assert 4 <= step < 12
    assert not run.results.exists()
    resumed = effiseg_command("train", "--resume", run.path)
    assert resumed.returncode == 0, resumed.stderr
    assert_equal_runs(run, whole)


@pytest.mark.heavy
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_saves_and_says_how_to_go_on(
    number: signal.Signals, code: int, options: list[str], whole: RunFolder, tmp_path: Path, effiseg_command: Command
) -> None:
    run = RunFolder(tmp_path / "run")
    process = start(options, run)
    wait_for_step(run, 1)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code, error
    assert f"effiseg train --resume {run.path}" in error
    assert "Traceback" not in error
    resumed = effiseg_command("train", "--resume", run.path)
    assert resumed.returncode == 0, resumed.stderr
    assert_equal_runs(run, whole)


@pytest.mark.heavy
def test_resume_from_the_start_when_killed_before_the_first_checkpoint(
    whole: RunFolder, tmp_path: Path, effiseg_command: Command
) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.config.write_bytes(whole.config.read_bytes())
    resumed = effiseg_command("train", "--resume", run.path)
    assert resumed.returncode == 0, resumed.stderr
    assert_equal_runs(run, whole)


def test_a_run_that_is_trained_is_not_resumed_beside(small_config: Callable[..., TrainConfig]) -> None:
    run = RunFolder(small_config("run").out)
    write_yaml(run.config, settings_dict(small_config("run")))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run.lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"is being trained by process {holder.pid} on .*; wait until it ends"):
            resume(run.path)
        assert {path.name for path in run.path.iterdir()} == {"config.yaml", ".lock"}
    finally:
        holder.communicate("")


def test_checkpoints_hold_no_teacher_and_models_no_distillation(whole: RunFolder) -> None:
    from safetensors.torch import load_file

    checkpoint = read_tensors(whole.last_checkpoint)
    names = checkpoint["task"].keys()
    assert not [name for name in names if "teacher" in name]
    assert [name for name in names if name.startswith("distiller.")]
    assert not [name for name in load_file(whole.model / "model.safetensors") if "distiller" in name]
