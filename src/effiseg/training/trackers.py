"""Trackers of experiments: what a run tells TensorBoard, Weights & Biases and MLflow, through Lightning's loggers.

No tracker ever ends a run: one that fails is named in one line and told nothing more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from effiseg.config.parsing import settings_dict
from effiseg.config.training import TrackerName, TrainConfig
from effiseg.errors import EffisegError
from effiseg.files import read_json, write_json
from effiseg.messages import notice
from effiseg.nested import flatten
from effiseg.run_folder import RunFolder

PACKAGES: Mapping[TrackerName, tuple[str, ...]] = {
    "tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "mlflow": ("mlflow",),
}  # fmt: skip
"""Tracker → packages of which it needs one; the extra of effiseg has the tracker's name."""
_EXPERIMENT = "effiseg"


class Trackers:
    """The trackers of one run, in the process that speaks for it.

    Args:
        config: the run's settings.
        run: its folder, where trackers keep what they keep on disk, and what they call the run.
    """

    def __init__(self, config: TrainConfig, run: RunFolder) -> None:
        self._run = run
        self._loggers: dict[TrackerName, Any] = {}
        known = _known_ids(run)
        for name in config.trackers:
            self._guarded(name, self._start, name, config, known.get(name))

    def __bool__(self) -> bool:
        return bool(self._loggers)

    def scalars(self, row: Mapping[str, float | int | None]) -> None:
        """An epoch's row, at its step."""
        values = {name: value for name, value in row.items() if value is not None and name not in ("epoch", "step")}
        step = int(row["step"] or 0)

        for name, logger in list(self._loggers.items()):
            self._guarded(name, logger.log_metrics, values, step)
            self._guarded(name, logger.save)

    def sheet(self, sheet: npt.NDArray[np.uint8], step: int) -> None:
        """A picture of predictions, (H, W, 3) uint8 RGB."""
        for name, logger in list(self._loggers.items()):
            self._guarded(name, _log_sheet, name, logger, sheet, step)

    def finish(self, model: Path | None) -> None:
        """The end of this session.

        Args:
            model: the finished model's folder; None: the run is not finished.
        """
        for name, logger in list(self._loggers.items()):
            self._guarded(name, _finish, name, logger, model)

    def _start(self, name: TrackerName, config: TrainConfig, known: str | None) -> None:
        logger, identity = _logger(name, self._run, known)
        self._loggers[name] = logger
        if identity is not None and identity != known:
            write_json(self._run.trackers, {**_known_ids(self._run), name: identity})
        if known is None:
            logger.log_hyperparams(flatten(settings_dict(config)))

    def _guarded(self, name: TrackerName, work: Callable[..., object], *arguments: object) -> None:
        try:
            work(*arguments)
        except Exception as error:
            self._loggers.pop(name, None)
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            notice(f"{name} is told nothing more of this run: {reason}")


def _logger(name: TrackerName, run: RunFolder, known: str | None) -> tuple[Any, str | None]:
    """Lightning's logger, and what the tracker calls the run; a known one goes on."""
    from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger

    match name:
        case "tensorboard":
            return TensorBoardLogger(run.path, name="tensorboard", version="", default_hp_metric=False), None
        case "wandb":
            project = os.environ.get("WANDB_PROJECT", _EXPERIMENT)
            wandb = WandbLogger(run.path.name, save_dir=run.path, project=project, id=known, resume="allow")
            return wandb, str(wandb.experiment.id)
        case "mlflow":
            place = os.environ.get("MLFLOW_TRACKING_URI")
            if place is None:  # files need nothing else; MLflow asks for a word before it writes some
                place = (run.path / "mlruns").resolve().as_uri()
                os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT)
            mlflow = MLFlowLogger(experiment, run.path.name, tracking_uri=place, run_id=known)
            return mlflow, str(mlflow.run_id)


def _log_sheet(name: TrackerName, logger: Any, sheet: npt.NDArray[np.uint8], step: int) -> None:
    match name:
        case "tensorboard":
            logger.experiment.add_image("val_predictions", sheet, step, dataformats="HWC")
        case "wandb":
            logger.log_image("val_predictions", [sheet], step=step)
        case "mlflow":
            logger.experiment.log_image(logger.run_id, sheet, artifact_file=f"val_predictions/{step:08d}.png")


def _finish(name: TrackerName, logger: Any, model: Path | None) -> None:
    match name:
        case "tensorboard":
            logger.finalize("success")
        case "wandb":
            if model is not None:
                import wandb

                artifact = wandb.Artifact(f"model-{logger.experiment.id}", type="model")
                artifact.add_dir(str(model))
                logger.experiment.log_artifact(artifact)
            logger.experiment.finish()
        case "mlflow":
            if model is not None:
                logger.experiment.log_artifacts(logger.run_id, str(model), "model")
            logger.finalize("success" if model is not None else "failed")


def _known_ids(run: RunFolder) -> dict[str, str]:
    """Tracker → what it called the run in an earlier session."""
    try:
        found: dict[str, str] = read_json(run.trackers) if run.trackers.is_file() else {}
    except EffisegError:
        return {}
    return found
