"""Equal time: steps from step times that are measured once, in turns, before any row."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from effiseg.comparison import ablation, step_times
from effiseg.comparison.ablation import ablate
from effiseg.comparison.step_times import StepTimes
from effiseg.config.comparison import AblationConfig
from effiseg.config.parsing import make_settings, read_settings
from effiseg.config.training import TrainConfig
from effiseg.errors import Interrupted, RunError, UsageError
from effiseg.results import AblationResult
from effiseg.run_folder import ComparisonFolder
from effiseg.training.distillation_task import DistillationTask
from effiseg.training.segmentation_task import SegmentationTask

SHARED: dict[str, Any] = {
    "image_size": "32x64",
    "batch_size": 2,
    "epochs": 2,
    "workers": 0,
    "device": "cpu",
    "init": "scratch",
    "validate_every": 0,
}
# Seconds of a step on a clock that nothing else moves; 14 steps of the baseline are the budget.
BASELINE, DISTILLED = 1.0, 3.0


class Clock:
    """A clock that only rows move; the second of every three steps of a row is slow."""

    def __init__(self) -> None:
        self.now = 0.0
        self.turns: list[str] = []

    def __call__(self) -> float:
        return self.now

    def spend(self, row: str, seconds: float) -> None:
        slow = self.turns.count(row) % 3 == 1
        self.turns.append(row)
        self.now += 10 * seconds if slow else seconds


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    found = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_times, "_CLOCK", found)
        for owner, row, seconds in ((SegmentationTask, "plain", BASELINE), (DistillationTask, "kd", DISTILLED)):
            real = owner.loss_terms

            def slow(task: Any, *args: Any, real: Any = real, row: str = row, seconds: float = seconds) -> Any:
                found.spend(row, seconds)
                return real(task, *args)

            patch.setattr(owner, "loss_terms", slow)
        yield found


@pytest.fixture(scope="module")
def config(colour_data: Path, teacher_run: Path, tmp_path_factory: pytest.TempPathFactory) -> AblationConfig:
    own = {
        "data": str(colour_data), "out": str(tmp_path_factory.mktemp("time") / "out"), "teacher": str(teacher_run),
        "recipes": ["baseline", "kd"], "latency_size": None, "budget": "time",
    }  # fmt: skip
    return make_settings(AblationConfig, ("test", SHARED | own))


@pytest.fixture(scope="module")
def compared(config: AblationConfig, clock: Clock) -> AblationResult:
    """Measured, then stopped before the first row, then started again."""

    def stop(*_: object) -> None:
        raise Interrupted("stopped", 2)

    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablation, "train_planned", stop)
        with pytest.raises(Interrupted):
            ablate(config, SHARED, message=said.append)
    assert any("measuring the step times of 2 rows in turns, 25 steps each" in line for line in said)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_times, "measure_step_times", None)
        return ablate(config, SHARED, command="effiseg ablate", message=said.append)


def test_rows_take_turns_and_the_median_after_the_warm_up_counts(compared: AblationResult, clock: Clock) -> None:
    assert clock.turns[:50] == ["plain", "kd"] * 25
    for row, seconds in zip(compared.rows[1:], (BASELINE, DISTILLED), strict=True):
        assert row.step_seconds == seconds


def test_each_row_has_the_steps_that_fit_and_a_schedule_over_them(
    config: AblationConfig, compared: AblationResult
) -> None:
    folder = ComparisonFolder(config.out)
    times = StepTimes.from_dict(json.loads(folder.step_times.read_text()))
    assert (times.budget_seconds, times.steps_per_epoch) == (14 * BASELINE, 7)
    for name, steps, epochs in (("baseline", 14, 2), ("kd", round(14 / 3), 1)):
        assert times.rows[name].steps == steps
        assert len(times.rows[name].samples) == 20
        assert times.rows[name].seconds == statistics.median(times.rows[name].samples)
        run = folder.run(name, 0)
        written = read_settings(TrainConfig, run.config)
        assert (written.steps, written.epochs) == (steps, epochs)
        assert json.loads(run.results.read_text())["steps"] == steps
        assert run.read_metrics()[-1]["lr"] == pytest.approx(6e-4 / steps)  # the last step of its own decay
    assert [run.steps for row in compared.rows for run in row.runs] == [14, 5]


def test_the_table_names_the_budget_and_the_seconds_of_a_step(config: AblationConfig, compared: AblationResult) -> None:
    text = (Path(config.out) / "table.md").read_text(encoding="utf-8")
    assert "| Steps | Step (s) |" in text
    assert "| 14 | 1.000 |" in text
    assert "| 5 | 3.000 |" in text
    assert "Budget: time, 14 s of steps a row, the baseline's over 2 epochs" in text
    assert "steps:" not in text.split("differs from the baseline in")[1]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"recipes": ["baseline", "kd", "dist"]}, r"step-times.json: has no step time of row dist with these settings"),
        ({"image_size": "64x64"}, "has no step time of row baseline with these settings"),
        ({"budget": "epochs"}, r"was trained with other settings \(steps: 14 there, None now"),
    ],
)
def test_what_was_not_measured_is_refused(
    change: dict[str, Any], found: str, config: AblationConfig, compared: AblationResult
) -> None:
    before = ComparisonFolder(config.out).step_times.read_bytes()
    with pytest.raises(RunError, match=found):
        ablate(replace(config, **change), SHARED | change)
    assert ComparisonFolder(config.out).step_times.read_bytes() == before


def test_rows_that_were_begun_before_are_refused(config: AblationConfig, tmp_path: Path) -> None:
    folder = ComparisonFolder(tmp_path)
    folder.run("kd", 0).path.mkdir(parents=True)
    folder.run("kd", 0).config.write_text("epochs: 2\n")
    folder.settings.write_text("epochs: 2\n")
    with pytest.raises(RunError, match="kd-seed0: was begun before step times were measured"):
        ablate(replace(config, out=str(tmp_path), recipes=["baseline"]), SHARED)


def test_several_processes_are_refused(config: AblationConfig) -> None:
    with pytest.raises(UsageError, match="budget time measures the steps of one process; found devices 2"):
        replace(config, devices=2)
