"""Equal time: the step time of every row, measured once, and the steps that each row gets for it.

Rows take turns, a step each, so that a machine that grows slower is slower for all. A step is what training does with
pictures that were loaded: copying them to the device, every pass of it with the teachers' forward, the optimizer and
the average of weights. Loading is left out: workers do it meanwhile, and for all rows alike. Steps are spread over the
row's schedule, because norms that taper cost something else before, while and after they do.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import torch

from effiseg.comparison.plan import PlannedRun
from effiseg.config.comparison import BASELINE_ROW, TEACHER_ROW
from effiseg.config.parsing import settings_dict
from effiseg.config.training import TrainConfig
from effiseg.data.datamodule import SegmentationDataModule
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.distillation.teacher import SegFormerTeacher, Teacher
from effiseg.environment import resolve_device
from effiseg.errors import RunError
from effiseg.files import read_json, write_json
from effiseg.nested import flatten
from effiseg.results import ResultsFile
from effiseg.run_folder import ComparisonFolder
from effiseg.training.distillation_task import distillation_terms
from effiseg.training.memory_advice import AUTOCAST
from effiseg.training.optimization import learning_rate, set_learning_rate
from effiseg.training.schedule import Schedule
from effiseg.training.teacher import read_teacher
from effiseg.training.trainer import build_student, build_task

WARMUP_STEPS, MEASURED_STEPS = 5, 20
_BUSY = 1.0  # load average above which something else computes
_CLOCK: Callable[[], float] = perf_counter
# Settings that say nothing of the time of a step; a teacher is known by its architecture.
_TIMELESS = ("out", "seed", "steps", "init", "init_digest", "keep_epochs")


@dataclass
class RowTime(ResultsFile):
    """The step time of a row."""

    seconds: float
    """Median of the measured steps."""
    steps: int
    """Optimizer steps for which that gives the budget."""
    samples: list[float]
    """Every measured step, seconds, in order."""
    settings: str
    """Fingerprint of the row's settings."""


@dataclass
class StepTimes(ResultsFile):
    """The content of step-times.json, which is written before any row is trained and never again."""

    budget_seconds: float
    """The time of every row: that of the baseline over its own schedule."""
    steps_per_epoch: int
    """Optimizer steps of one epoch."""
    rows: dict[str, RowTime] = field(default_factory=dict)
    """Row → its time; the baseline is always there."""
    load_average: float | None = None
    """Processes that ran or waited when it began, the mean of a minute; null where the system does not say."""


def equal_time(
    plan: Sequence[PlannedRun],
    reference: TrainConfig,
    spec: DatasetSpec,
    folder: ComparisonFolder,
    message: Callable[[str], None],
) -> tuple[list[PlannedRun], StepTimes]:
    """The plan with the steps for which each row takes the baseline's time; measured where the folder has no times yet.

    A teacher that is trained here keeps its epochs.

    Args:
        plan: all runs.
        reference: what the baseline trains with, whether or not it is among the rows.
        spec: the data set.
        folder: where the times are kept.
        message: told what is done.

    Raises:
        RunError: rows were begun without times, or the times are of other rows or settings.
    """
    configs = {BASELINE_ROW: reference} | {p.row: p.config for p in reversed(plan) if p.row != TEACHER_ROW}
    if folder.step_times.is_file():
        times = StepTimes.from_dict(read_json(folder.step_times), folder.step_times)
    else:
        if begun := folder.started_runs():
            raise RunError(
                f"{begun[0].path}: was begun before step times were measured, and they are measured before any row; "
                "choose another --out, or --budget epochs"
            )
        teachers = {p.config.out: p.config for p in plan if p.row == TEACHER_ROW}
        message(
            f"measuring the step times of {len(configs)} rows in turns, {WARMUP_STEPS + MEASURED_STEPS} steps each; "
            "let nothing else run meanwhile"
        )
        times = measure_step_times(configs, teachers, spec)
        write_json(folder.step_times, times.to_dict())
        message("; ".join(f"{row}: {of.seconds:.3f} s a step, {of.steps} steps" for row, of in times.rows.items()))
        if (times.load_average or 0) > _BUSY:
            message(
                f"warning: other processes were running (load average {times.load_average:.1f}), and step times may be "
                "off; on an idle machine, start anew in another --out"
            )
    for row, config in configs.items():
        if row not in times.rows or times.rows[row].settings != _fingerprint(config):
            raise RunError(
                f"{folder.step_times}: has no step time of row {row} with these settings, and it is measured once, "
                "before any row; choose another --out"
            )
    return [_with_steps(planned, times) for planned in plan], times


def _with_steps(planned: PlannedRun, times: StepTimes) -> PlannedRun:
    """The run with its row's steps, and as many epochs as they begin."""
    if planned.row == TEACHER_ROW:
        return planned
    return replace(planned, config=with_steps(planned.config, times.rows[planned.row].steps, times.steps_per_epoch))


def with_steps(config: TrainConfig, steps: int, steps_per_epoch: int) -> TrainConfig:
    """The settings with so many steps, and as many epochs as they begin."""
    return replace(config, steps=steps, epochs=-(-steps // steps_per_epoch))


def measure_step_times(
    configs: dict[str, TrainConfig], teachers: dict[str, TrainConfig], spec: DatasetSpec
) -> StepTimes:
    """Measure every row's step on this machine.

    Args:
        configs: row → its settings; the baseline is among them.
        teachers: path → settings of a teacher that is still to be trained: one of its architecture stands for it.
        spec: the data set.

    Raises:
        DataError, ModelError, UsageError: as training.
    """
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    batches = _Batches(spec)
    known: dict[str, Teacher] = {}
    steps = {
        row: _Step(config, spec, batches, _teachers(config, teachers, spec, known)) for row, config in configs.items()
    }
    samples: dict[str, list[float]] = {row: [] for row in steps}
    for turn in range(-WARMUP_STEPS, MEASURED_STEPS):
        place = (max(turn, 0) + 0.5) / MEASURED_STEPS
        for row, step in steps.items():
            seconds = step.seconds(place)
            if turn >= 0:
                samples[row].append(seconds)
    medians = {row: statistics.median(found) for row, found in samples.items()}
    baseline = steps[BASELINE_ROW].schedule
    budget = medians[BASELINE_ROW] * baseline.total_steps
    rows = {
        row: RowTime(medians[row], max(1, round(budget / medians[row])), samples[row], _fingerprint(configs[row]))
        for row in steps
    }
    return StepTimes(budget, baseline.steps_per_epoch, rows, load)


class _Batches:
    """The first pictures of a run, loaded once for all rows that read the same."""

    def __init__(self, spec: DatasetSpec) -> None:
        self.spec = spec
        self._found: dict[str, tuple[int, list[Any]]] = {}

    def of(self, config: TrainConfig) -> tuple[int, list[Any]]:
        """(passes an epoch, the passes of one step)."""
        key = f"{config.sampler} {config.unlabeled} {config.distillation.enabled}"
        if key not in self._found:
            data = SegmentationDataModule(replace(config, workers=0, cache="off"), self.spec)
            data.setup("fit")
            loader = iter(data.train_dataloader())
            self._found[key] = data.batches_per_epoch, [next(loader) for _ in range(config.accumulate)]
            data.close()
        return self._found[key]


class _Step:
    """A row's optimizer step, ready to be taken."""

    def __init__(self, config: TrainConfig, spec: DatasetSpec, batches: _Batches, teachers: list[Teacher]) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.device = torch.device(resolve_device(config.device))
        passes, self.batches = batches.of(config)
        self.schedule = Schedule(config.epochs, passes // config.accumulate, config.accumulate, config.steps)
        weights = None if config.loss.class_weights == "none" else torch.ones(spec.num_classes)
        self.task = build_task(config, build_student(config, spec), teachers, weights).train().to(self.device)
        self.task.configure_model()
        optimizer = self.task.configure_optimizers()
        assert isinstance(optimizer, torch.optim.AdamW)
        self.optimizer = optimizer
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "float16")

    def seconds(self, place: float) -> float:
        """The time of one step at a place of the schedule, 0 (its start) to 1; the weights change as in training."""
        config, total = self.config, self.schedule.total_steps
        position = min(int(place * total), total - 1)
        mixed = config.precision != "float32"
        _wait(self.device)
        began = _CLOCK()
        set_learning_rate(self.optimizer, learning_rate(position, total, config.optimizer))
        self.task.begin_step(position, total)
        for batch in self.batches:
            moved = self.task.transfer_batch_to_device(batch, self.device, 0)
            with torch.autocast(self.device.type, AUTOCAST[config.precision]) if mixed else nullcontext():
                loss = self.task.training_step(moved, 0) / config.accumulate
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if config.optimizer.gradient_clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, config.optimizer.gradient_clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.task.after_optimizer_step()
        _wait(self.device)
        return _CLOCK() - began


def _teachers(
    config: TrainConfig, untrained: dict[str, TrainConfig], spec: DatasetSpec, known: dict[str, Teacher]
) -> list[Teacher]:
    """A row's teachers, each loaded once for all rows."""
    if not config.distillation.enabled:
        return []
    for path in config.teachers:
        if path in known:
            continue
        own = next((other for out, other in untrained.items() if os.path.realpath(out) == os.path.realpath(path)), None)
        known[path] = (
            read_teacher(path, config, distillation_terms(config.distillation), spec)
            if own is None
            else SegFormerTeacher(build_student(own, spec), path)
        )
    return [known[path] for path in config.teachers]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _fingerprint(config: TrainConfig) -> str:
    """A digest of a row's settings but for those that say nothing of its time."""
    told = {key: value for key, value in flatten(settings_dict(config)).items() if key not in _TIMELESS}
    return hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=16).hexdigest()
