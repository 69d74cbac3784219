"""Trackers of experiments: what they are told, offline; and that none of them ends a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from effiseg.config.training import TrainConfig
from effiseg.run_folder import RunFolder
from effiseg.training import trackers
from effiseg.training.trackers import Trackers
from effiseg.training.trainer import resume, train

Config = Callable[..., TrainConfig]


class Recorder:
    """Stands for a logger of Lightning's; `broken` is raised by log_metrics."""

    def __init__(self, broken: Exception | None = None) -> None:
        self.told: list[tuple[str, Any]] = []
        self.broken = broken

    def log_hyperparams(self, values: dict[str, Any]) -> None:
        self.told.append(("settings", values))

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        if self.broken is not None:
            raise self.broken
        self.told.append(("scalars", (step, values)))

    def save(self) -> None: ...


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Loggers by tracker, and what was asked of them."""
    found: dict[str, Any] = {"known": [], "finished": [], "loggers": {}}

    def logger(name: str, run: RunFolder, known: str | None) -> tuple[Any, str | None]:
        found["known"].append((name, known))
        return found["loggers"].setdefault(name, Recorder()), f"{name}-1"

    monkeypatch.setattr(trackers, "_logger", logger)
    monkeypatch.setattr(trackers, "_log_sheet", lambda name, logger, sheet, step: logger.told.append(("sheet", step)))
    monkeypatch.setattr(trackers, "_finish", lambda name, logger, model: found["finished"].append((name, model)))
    return found


def test_a_run_tells_settings_scalars_sheets_and_the_model(small_config: Config, recorded: dict[str, Any]) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is an extra")
    run = train(small_config("run", logger=["tensorboard"], tensorboard=True, epochs=2))
    told = recorded["loggers"]["tensorboard"].told
    assert [kind for kind, _ in told] == ["settings", "sheet", "scalars", "sheet", "scalars"]
    assert told[0][1]["epochs"] == 2
    assert [step for kind, (step, _) in ((k, v) for k, v in told if k == "scalars")] == [
        int(row["step"] or 0) for row in run.read_metrics()
    ]
    assert recorded["finished"] == [("tensorboard", run.model)]
    assert json.loads(run.trackers.read_text()) == {"tensorboard": "tensorboard-1"}


def test_a_session_that_goes_on_continues_what_it_began(
    small_config: Config, recorded: dict[str, Any], tmp_path: Path
) -> None:
    config = small_config("run", logger=["tensorboard"])
    run = RunFolder(config.out)
    run.path.mkdir(parents=True)
    for _ in range(2):
        assert Trackers(config, run)
    assert recorded["known"] == [("tensorboard", None), ("tensorboard", "tensorboard-1")]
    told = recorded["loggers"]["tensorboard"].told
    assert [kind for kind, _ in told] == ["settings"]  # told once


def test_a_tracker_that_fails_is_told_nothing_more_and_the_run_goes_on(
    small_config: Config, recorded: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is an extra")
    recorded["loggers"]["tensorboard"] = Recorder(ConnectionError("no\nway"))
    run = train(small_config("run", tensorboard=True, epochs=2))
    assert run.is_finished
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "told nothing more" in line]
    assert line.endswith("tensorboard is told nothing more of this run: no way")
    assert recorded["finished"] == []
    assert resume(run.path) is not None


@pytest.mark.heavy
def test_wandb_offline(small_config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="wandb is an extra")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = train(small_config("run", logger=["wandb"]))
    assert run.is_finished
    (kept,) = (run.path / "wandb").glob("offline-run-*/run-*.wandb")
    assert kept.stat().st_size > 0
    assert json.loads(run.trackers.read_text())["wandb"] in kept.name


def test_mlflow_in_files(small_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is an extra")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = small_config("run", logger=["mlflow"])
    run = train(config)
    identity = json.loads(run.trackers.read_text())["mlflow"]
    client = mlflow.MlflowClient((run.path / "mlruns").resolve().as_uri())
    found = client.get_run(identity)
    assert found.info.status == "FINISHED"
    assert found.data.params["recipe"] == "baseline"
    assert found.data.metrics["val_miou"] == pytest.approx(run.read_metrics()[-1]["val_miou"])
    assert {file.path for file in client.list_artifacts(identity)} == {"model", "val_predictions"}
    before = len(client.list_artifacts(identity, "val_predictions"))
    Trackers(config, run).sheet(np.zeros((4, 4, 3), np.uint8), 9)  # as a session does that goes on
    assert len(client.list_artifacts(identity, "val_predictions")) == before + 1
