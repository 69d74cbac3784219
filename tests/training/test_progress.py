"""What a run prints where there is no terminal: one line an epoch."""

from __future__ import annotations

import pytest

from effiseg.training.progress import TrainingProgress, format_seconds


def test_a_log_file_gets_one_line_per_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    progress = TrainingProgress("run", epochs=2, steps=6, done=0)
    assert not progress.is_due()
    progress.step(1, 1, 0.5)
    progress.validating(1, 3)
    progress.epoch({"epoch": 1, "loss": 0.5, "lr": 1e-3, "val_miou": 12.345, "images_per_second": 8.0}, 3)
    progress.epoch({"epoch": 2, "loss": 0.25, "lr": 0.0, "images_per_second": 8.0}, 6)
    progress.stop()
    out, error = capsys.readouterr()
    assert out == ""
    first, second = error.splitlines()
    assert first.startswith(
        "run · epoch 1/2 · loss 0.5000 · lr 1.00e-03 · val mIoU 12.35 % · 8.0 images/s · ETA 0:00:0"
    )
    assert second == "run · epoch 2/2 · loss 0.2500 · lr 0.00e+00 · 8.0 images/s"


def test_the_other_processes_of_a_run_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress = TrainingProgress("run", epochs=1, steps=1, done=0, enabled=False)
    progress.epoch({"epoch": 1, "loss": 0.5, "lr": 1e-3, "images_per_second": 8.0}, 1)
    progress.stop()
    assert capsys.readouterr() == ("", "")


def test_seconds_read_as_hours_minutes_seconds() -> None:
    assert [format_seconds(s) for s in (0, 59.6, 3599.4, 3600, 90061)] == [
        "0:00:00",
        "0:01:00",
        "0:59:59",
        "1:00:00",
        "25:01:01",
    ]
