"""Seeds of passes, the end of a run, and metrics.csv."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from effiseg.run_folder import RunFolder
from effiseg.training.checkpointing import TrainingState
from effiseg.training.run_keeper import pass_seed
from effiseg.training.schedule import Schedule


def test_every_seed_pass_and_process_has_its_own_numbers() -> None:
    seeds = [pass_seed(seed, passes, process) for seed in range(5) for passes in range(300) for process in range(4)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    # Neighbours that a concatenation without separator would confuse.
    assert pass_seed(1, 11, 0) != pass_seed(11, 1, 0)
    assert pass_seed(0, 5, 1) == pass_seed(0, 5, 1)


@pytest.mark.parametrize(
    ("state", "over"),
    [
        (TrainingState(), False),
        (TrainingState(step=11), False),
        (TrainingState(step=12), True),
        (TrainingState(step=12, validation_pending=True), False),
        (TrainingState(step=6, validation_pending=True), False),
        (TrainingState(step=6, stopped_early=True), True),
    ],
)
def test_a_run_is_over_when_nothing_is_left_to_train_or_evaluate(state: TrainingState, over: bool) -> None:
    assert Schedule(epochs=4, steps_per_epoch=3, accumulate=2).is_over(state) is over


def test_metrics_have_a_row_per_epoch_and_every_column_that_occurs(tmp_path: Path) -> None:
    history: list[dict[str, float | int | None]] = [
        {"epoch": 1, "step": 3, "loss": 1 / 3},
        {"epoch": 2, "step": 6, "loss": 0.25, "val_miou": 12.5},
    ]
    run = RunFolder(tmp_path)
    run.write_metrics(history)
    with run.metrics.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"epoch": "1", "step": "3", "loss": repr(1 / 3), "val_miou": ""},
        {"epoch": "2", "step": "6", "loss": "0.25", "val_miou": "12.5"},
    ]
