"""When training waits for data: whether to say something, and what."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from effiseg.config.training import TrainConfig
from effiseg.training import loader_advice as module
from effiseg.training.loader_advice import JUDGED_SECONDS, WAITING_SHARE, LoaderJudge, loader_advice
from effiseg.training.step_timing import Seconds, StepTiming


def spent(data: float, total: float = 100.0) -> Seconds:
    return {"data": data, "forward": total - data, "backward": 0.0, "optimizer": 0.0, "other": 0.0}


@pytest.mark.parametrize(
    ("settings", "cores", "named", "not_named"),
    [
        ({}, 8, ["43 % of the time is spent waiting", "--cache disk", "--workers 8 (2 now, 8 cores)"], ["too few"]),
        ({}, 2, ["--cache disk", "2 cores are too few", "smaller source images"], ["--workers 2"]),
        ({"workers": 0}, 2, ["--cache disk", "--workers 2 (0 now, 2 cores)"], []),
        ({"cache": "disk"}, 8, ["take --workers 8"], ["--cache"]),
        ({"cache": "ram", "workers": 8}, 8, ["8 cores are too few", "smaller source images"], ["--cache"]),
        ({"devices": 2, "workers": 4}, 8, ["--cache disk", "8 cores are too few"], ["take --workers"]),
        ({"devices": 2, "workers": 3}, 8, ["--workers 4 (3 now, 8 cores)"], []),
    ],
)
def test_the_fitting_remedy_is_named(
    settings: dict[str, Any], cores: int, named: list[str], not_named: list[str]
) -> None:
    advice = loader_advice(spent(43.0), TrainConfig(**settings), cores)
    assert advice is not None
    assert "\n" not in advice
    for words in named:
        assert words in advice
    for words in not_named:
        assert words not in advice


def test_little_waiting_or_little_training_says_nothing() -> None:
    config = TrainConfig()
    assert loader_advice(spent(100 * WAITING_SHARE), config, 8) is None
    assert loader_advice(spent(100 * WAITING_SHARE + 1), config, 8) is not None
    assert loader_advice(spent(JUDGED_SECONDS / 2, JUDGED_SECONDS - 1), config, 8) is None


class Timed(StepTiming):
    """Readings made up by the test."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.read = spent(0.0, 0.0)

    def seconds(self) -> Seconds:
        return dict(self.read)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`judged(judge, timing, data, forward, epoch_ends)`: a step that took so long; the advice."""
    clock = {"now": 1000.0}
    monkeypatch.setattr(module, "monotonic", lambda: clock["now"])

    def step(judge: LoaderJudge, timing: Timed, data: float, forward: float, epoch_ends: bool = False) -> str | None:
        clock["now"] += data + forward
        timing.read["data"] += data
        timing.read["forward"] += forward
        return judge.after_step(timing, epoch_ends=epoch_ends)

    return step


def test_advice_comes_once_and_not_for_the_first_step(judged: Any) -> None:
    judge, timing = LoaderJudge(TrainConfig()), Timed()
    said = [judged(judge, timing, 1000.0, 1.0)]  # the loader starts
    said += [judged(judge, timing, 0.1, 0.9) for _ in range(100)]
    assert said == [None] * 101
    said = [judged(judge, timing, 0.5, 0.5) for _ in range(100)]
    assert [text is not None for text in said].count(True) == 1
    # Of all steps but the first, more than a fifth was spent waiting; seen at the next half-minute.
    assert said.index(next(filter(None, said))) >= 33


def test_short_epochs_are_judged_together(judged: Any) -> None:
    judge, timing = LoaderJudge(TrainConfig()), Timed()
    said = [judged(judge, timing, 1.0, 1.0, epoch_ends=step % 3 == 2) for step in range(17)]
    assert [text is not None for text in said] == [False] * 15 + [True] + [False]


def test_the_epoch_that_fills_the_cache_is_not_judged(judged: Any) -> None:
    judge, timing = LoaderJudge(TrainConfig(cache="disk")), Timed()
    said = [judged(judge, timing, 9.0, 1.0, epoch_ends=step == 99) for step in range(100)]
    said += [judged(judge, timing, 0.1, 0.9) for _ in range(100)]
    assert said == [None] * 200
    judge, timing = LoaderJudge(TrainConfig(cache="disk")), Timed()
    said = [judged(judge, timing, 9.0, 1.0, epoch_ends=step % 10 == 9) for step in range(20)]
    assert [bool(text) for text in said] == [False] * 12 + [True] + [False] * 7
