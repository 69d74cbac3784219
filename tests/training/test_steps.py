"""Runs of a number of steps: the last epoch is cut short, and everything else is as for whole epochs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from effiseg.config.parsing import read_settings
from effiseg.config.training import TrainConfig
from effiseg.errors import DataError, Interrupted
from effiseg.files import read_json
from effiseg.training import run_keeper
from effiseg.training.checkpointing import TrainingState, read_tensors
from effiseg.training.optimization import learning_rate
from effiseg.training.schedule import Schedule
from effiseg.training.trainer import resume, train

Config = Callable[..., TrainConfig]


def test_the_last_epoch_may_be_cut_short() -> None:
    schedule = Schedule(epochs=3, steps_per_epoch=4, accumulate=2, steps=10)
    assert schedule.total_steps == 10
    assert [step for step in range(1, 11) if schedule.ends_epoch(step)] == [4, 8, 10]
    assert [schedule.steps_of_epoch(step) for step in (1, 4, 5, 8, 9, 10)] == [1, 4, 1, 4, 1, 2]
    assert [schedule.is_over(TrainingState(step=step)) for step in (8, 9, 10)] == [False, False, True]


def test_a_run_of_steps_ends_with_its_schedule_and_goes_on_bit_for_bit(
    small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three steps an epoch: the second epoch has one step, the fourth."""
    whole = train(small_config("whole", epochs=9, steps=4))
    rows = whole.read_metrics()
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 3), (2, 4)]
    assert rows[-1]["lr"] == learning_rate(3, 4, TrainConfig().optimizer)
    config = read_settings(TrainConfig, whole.config)
    assert (config.steps, config.epochs) == (4, 2)
    results = read_json(whole.results)
    assert (results["steps"], results["epochs"]) == (4, 2)
    assert results["val"] is not None
    cut = small_config("cut", epochs=9, steps=4)

    def fail(*_: object, **__: object) -> None:
        raise DataError("val/1.png: is broken")

    with monkeypatch.context() as patch:  # a signal in the middle of the first epoch
        patch.setattr(run_keeper.RunKeeper, "signal_received", property(lambda keeper: keeper.state.step == 2))
        with pytest.raises(Interrupted, match="step 2 of 4"):
            train(cut)
    with monkeypatch.context() as patch:  # then the evaluation after the last step fails
        real = run_keeper.RunKeeper.validate
        patch.setattr(
            run_keeper.RunKeeper,
            "validate",
            lambda keeper, task: fail() if keeper.state.step == 4 else real(keeper, task),
        )
        with pytest.raises(DataError, match="is broken"):
            resume(cut.out)
    again = resume(cut.out)
    ours, theirs = (read_tensors(run.last_checkpoint) for run in (again, whole))
    assert ours["state"]["step"] == 4
    assert all(torch.equal(ours["task"][name], theirs["task"][name]) for name in theirs["task"])
    assert [row["loss"] for row in again.read_metrics()] == [row["loss"] for row in rows]
