"""Time by phase: what is counted where, on a clock and on events."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

import pytest
import torch

from effiseg.config.training import TrainConfig
from effiseg.data.dataset import SegmentationDataset
from effiseg.errors import DataError, Interrupted
from effiseg.run_folder import RunFolder
from effiseg.training import run_keeper, step_timing
from effiseg.training.checkpointing import load_checkpoint
from effiseg.training.segmentation_task import SegmentationTask
from effiseg.training.step_timing import PHASES, SHARE_COLUMNS, Phase, StepTiming, describe_shares, shares, since
from effiseg.training.trainer import resume, train

Config = Callable[..., TrainConfig]


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


class Event:
    """A GPU's event on a clock of its own: reached late, and readable only when waited for."""

    clock = Clock()
    recorded: list[Event] = []  # noqa: RUF012

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing
        self.waited_for = False

    def record(self) -> None:
        self.time = self.clock.now
        self.recorded.append(self)

    def synchronize(self) -> None:
        for event in self.recorded[: self.recorded.index(self) + 1]:  # a stream is in order
            event.waited_for = True

    def elapsed_time(self, end: Event) -> float:
        assert end.waited_for
        return 1000 * (end.time - self.time)


@pytest.fixture(params=["cpu", "cuda"])
def timed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[StepTiming, Clock]:
    clock = Clock()
    Event.clock, Event.recorded = clock, []
    monkeypatch.setattr(step_timing, "perf_counter", clock.perf_counter)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    return StepTiming(torch.device(request.param)), clock


def test_time_goes_to_the_phase_that_ends(timed: tuple[StepTiming, Clock]) -> None:
    timing, clock = timed
    want: dict[Phase, float] = dict.fromkeys(PHASES, 0.0)
    for step in range(1000):  # more boundaries than are kept open
        clock.now += 50.0  # an evaluation
        timing.begin()
        for phase, seconds in zip(PHASES, (1.0, 2.0, 3.0, 0.5, 0.25), strict=True):
            clock.now += seconds
            timing.end(phase)
            want[phase] += seconds
        if step == 499:
            assert timing.seconds() == want
            half = timing.seconds()
    assert timing.seconds() == want
    assert since(half, timing.seconds()) == half


def test_a_gpu_is_not_waited_for_at_boundaries(monkeypatch: pytest.MonkeyPatch) -> None:
    Event.recorded = []
    monkeypatch.setattr(torch.cuda, "Event", Event)
    timing = StepTiming(torch.device("cuda"))
    for _ in range(100):
        timing.end("forward")
    assert not any(event.waited_for for event in Event.recorded)
    timing.seconds()
    assert all(event.waited_for for event in Event.recorded)


def test_shares_sum_to_one_and_read_in_percent() -> None:
    seconds: dict[Phase, float] = {"data": 4.0, "forward": 38.0, "backward": 51.0, "optimizer": 5.0, "other": 2.0}
    row: dict[str, Any] = {**shares(seconds)}
    assert row == {f"{phase}_share": pytest.approx(value / 100) for phase, value in seconds.items()}
    assert describe_shares(row) == "data 4 %, forward 38 %, backward 51 %, optimizer 5 %"
    assert set(shares(dict.fromkeys(PHASES, 0.0)).values()) == {0.0}


def rows_of(run: RunFolder) -> list[dict[str, float]]:
    with run.metrics.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_every_phase_gets_its_own_time(small_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve images an epoch in three steps of two passes, where time passes in known places only."""
    clock = Clock()
    monkeypatch.setattr(step_timing, "perf_counter", clock.perf_counter)

    def takes(seconds: float, owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def slow(*args: Any, **options: Any) -> Any:
            clock.now += seconds
            return original(*args, **options)

        monkeypatch.setattr(owner, name, slow)

    takes(1 / 16, SegmentationDataset, "__getitem__")
    takes(1 / 8, SegmentationTask, "supervised_terms")
    takes(1 / 4, torch.Tensor, "backward")
    takes(1 / 2, SegmentationTask, "after_optimizer_step")
    takes(1 / 32, run_keeper, "pass_seed")
    takes(100.0, run_keeper, "evaluate")
    takes(100.0, run_keeper, "save_checkpoint")
    run = train(small_config("run", accumulate=2, checkpoint_minutes=0.0))  # saved after every step
    want = {"data": 12 / 16, "forward": 6 / 8, "backward": 6 / 4, "optimizer": 3 / 2, "other": 6 / 32}
    for row in rows_of(run):
        seconds = {phase: row[column] * 12 / row["images_per_second"] for phase, column in SHARE_COLUMNS.items()}
        assert seconds == pytest.approx(want)


def test_of_a_resumed_epoch_only_the_part_trained_since_is_timed(
    small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(step_timing, "perf_counter", clock.perf_counter)
    original = SegmentationTask.supervised_terms

    def slow(*args: Any) -> Any:
        clock.now += 0.5
        return original(*args)

    monkeypatch.setattr(SegmentationTask, "supervised_terms", slow)
    config = small_config("run", epochs=1)
    with monkeypatch.context() as patch:
        # The run believes that a signal came in its second step.
        patch.setattr(run_keeper.RunKeeper, "signal_received", property(lambda keeper: keeper.state.step == 2))
        with pytest.raises(Interrupted, match="step 2 of 3"):
            train(config)
    clock.now += 1000.0
    (row,) = rows_of(resume(config.out))
    assert (row["images_per_second"], row["forward_share"]) == (8.0, 1.0)


def test_an_evaluation_that_fails_costs_no_training(
    small_config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise DataError("val/1.png: is broken")

    config = small_config("run")
    with monkeypatch.context() as patch:
        patch.setattr(run_keeper, "evaluate", fail)
        with pytest.raises(DataError, match="is broken"):
            train(config)
    state = load_checkpoint(RunFolder(config.out).last_checkpoint)[3]
    assert (state.step, state.validation_pending, len(state.history)) == (3, True, 1)
    run = resume(config.out)
    assert [row["epoch"] for row in rows_of(run)] == [1, 2]
    first, second = (line for line in capsys.readouterr().err.splitlines() if " · epoch " in line)
    assert "epoch 1/2" in first
    assert " img/s · data " in second
