"""Checkpoints: plain tensors and numbers, written atomically, read without executing anything."""

from __future__ import annotations

import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from effiseg.errors import RunError
from effiseg.files import atomic_path
from effiseg.serialization import from_plain

_FORMAT = 1


@dataclass
class TrainingState:
    """Where a run stands, apart from weights and optimizer. All values are plain numbers, strings and lists."""

    step: int = 0
    """Optimizer steps done since the start of the run."""
    epoch_sums: dict[str, float] = field(default_factory=dict)
    """Sum of every loss term over the steps of the current epoch."""
    history: list[dict[str, float | int | None]] = field(default_factory=list)
    """One row per finished epoch: what metrics.csv holds."""
    best_miou: float | None = None
    """Best val mIoU so far, percent."""
    best_epoch: int | None = None
    """Epoch (1-based) of `best_miou`."""
    validation_pending: bool = False
    """The last epoch's steps are done but its evaluation is not."""
    stopped_early: bool = False
    """Early stopping has ended the run."""
    train_seconds: float = 0.0
    """Wall-clock time spent training and validating, over all sessions of the run."""
    samples: str = ""
    """Fingerprint of the training samples; a run goes on only with the same ones."""


def save_checkpoint(
    path: Path,
    task_state: dict[str, Any],
    optimizer: dict[str, Any],
    scaler: dict[str, Any],
    state: TrainingState,
) -> None:
    """Write everything a run needs to go on, replacing `path` atomically.

    Args:
        path: `checkpoints/last.ckpt` of the run.
        task_state: the task's state dict: student, average, projections; never the teacher.
        optimizer: the optimizer's state dict.
        scaler: the precision plugin's state dict (empty but for float16).
        state: where the run stands.
    """
    write_tensors(
        path,
        {
            "format": _FORMAT,
            "task": task_state,
            "optimizer": optimizer,
            "scaler": scaler,
            "state": asdict(state),
        },
    )


def load_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], TrainingState]:
    """(task state, optimizer state, scaler state, training state) from a file of `save_checkpoint`.

    Raises:
        RunError: the file is damaged, of another format, or holds anything but plain tensors and numbers.
    """
    content = read_tensors(path)
    if content.get("format") != _FORMAT:
        raise RunError(f"{path}: checkpoint format {content.get('format')!r} is not {_FORMAT}; train anew")
    try:
        state = from_plain(TrainingState, content["state"], path, error=RunError, strict=True)
        return content["task"], content["optimizer"], content["scaler"], state
    except KeyError as error:
        raise RunError(f"{path}: a part of the checkpoint is missing ({error}); train anew") from None


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write a nested dict of tensors, numbers and strings, replacing `path` atomically."""
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def read_tensors(path: Path) -> dict[str, Any]:
    """A nested dict written by `write_tensors`, on the CPU; nothing in the file can execute.

    Raises:
        RunError: the file is missing, damaged, or holds other objects.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RunError(f"{path}: no such checkpoint") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"{path}: not a readable checkpoint of plain tensors ({reason})") from None
    if not isinstance(content, dict):
        raise RunError(f"{path}: not a checkpoint (holds {type(content).__name__})")
    return content
