"""Checkpoints: plain tensors and numbers, written atomically, read without executing anything."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from effiseg.errors import RunError
from effiseg.files import atomic_path
from effiseg.serialization import from_plain

_FORMAT = 1
_MOST_STEPS = 10**12


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
        parts = content["task"], content["optimizer"], content["scaler"]
    except KeyError as error:
        raise RunError(f"{path}: a part of the checkpoint is missing ({error}); train anew") from None
    for name, part in zip(("task", "optimizer", "scaler"), parts, strict=True):
        if not isinstance(part, dict):
            raise RunError(f"{path}: {name} must be a mapping; found {type(part).__name__}; train anew")
    if odd := [name for name, value in parts[0].items() if not isinstance(value, torch.Tensor)]:
        raise RunError(f"{path}: task must hold tensors; found {odd[0]!r}, which is none; train anew")
    _check_state(state, path)
    return *parts, state


def _check_state(state: TrainingState, path: Path) -> None:
    """Refuse numbers that no run comes to.

    Raises:
        RunError: the first of them.
    """
    if state.best_miou is not None and math.isnan(state.best_miou):  # as earlier versions wrote it
        state.best_miou = state.best_epoch = None
    rules = {
        "step": 0 <= state.step <= _MOST_STEPS,
        "epoch_sums": all(map(math.isfinite, state.epoch_sums.values())),
        "best_miou": state.best_miou is None or 0 <= state.best_miou <= 100,
        "best_epoch": state.best_epoch is None or 1 <= state.best_epoch <= _MOST_STEPS,
        "train_seconds": 0 <= state.train_seconds < math.inf,
    }
    for name, holds in rules.items():
        if not holds:
            found = str(getattr(state, name))
            raise RunError(f"{path}: {name} is none that a run comes to; found {found[:60]}; train anew")


def restore(
    optimizer: torch.optim.Optimizer,
    optimizer_state: dict[str, Any],
    load_scaler: Callable[[dict[str, Any]], None],
    scaler_state: dict[str, Any] | None,
    path: Path,
) -> None:
    """Put optimizer and loss scaler where the run stood.

    Args:
        optimizer: of the network's parameters.
        optimizer_state: as `load_checkpoint` gave it; it is copied.
        load_scaler: takes the scaler's state.
        scaler_state: as `load_checkpoint` gave it; empty or None: there is none.
        path: the checkpoint, for errors.

    Raises:
        RunError: the state is not of such an optimizer.
    """
    try:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for index, entry in optimizer_state["state"].items():
            for name, value in entry.items():
                if value.numel() != 1 and value.shape != parameters[index].shape:
                    raise ValueError(f"{name} of parameter {index} is {tuple(value.shape)}")
        for saved, group in zip(optimizer_state["param_groups"], optimizer.param_groups, strict=True):
            for name, value in group.items():
                if name in saved and name != "params" and not _is_like(saved[name], value):
                    raise ValueError(f"{name} is {str(saved[name])[:40]}")
        # A copy, because spawned processes receive tensors in memory that they share.
        optimizer.load_state_dict(copy.deepcopy(optimizer_state))
        if scaler_state:
            load_scaler(scaler_state)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"{path}: the optimizer's state is not of this run ({reason}); train anew") from None


def _is_like(value: object, other: object) -> bool:
    """Whether an option of an optimizer is a finite number where the other is one, or as many of them."""
    if isinstance(other, tuple | list):
        return isinstance(value, tuple | list) and len(value) == len(other) and all(map(_is_like, value, other))
    if isinstance(other, float | int) and not isinstance(other, bool):
        return isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value)
    return True


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
