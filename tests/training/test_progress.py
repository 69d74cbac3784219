"""What a run prints where there is no terminal: one line an epoch."""

from __future__ import annotations

import pytest

from effiseg.progress import format_seconds
from effiseg.training.progress import TrainingProgress

SPEED = {
    "images_per_second": 8.0,
    "data_share": 0.12,
    "forward_share": 0.25,
    "backward_share": 0.5,
    "optimizer_share": 0.004,
    "other_share": 0.126,
}
SHOWN = "8.0 img/s · data 12 %"


def test_a_log_file_gets_one_line_per_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    progress = TrainingProgress("run", epochs=2, steps=6, done=0)
    assert not progress.is_due()
    progress.step(1, 1, 0.5)
    progress.validating(1, 3)
    progress.epoch({"epoch": 1, "loss": 0.5, "lr": 1e-3, "val_miou": 12.345, **SPEED}, 3)
    progress.epoch({"epoch": 2, "loss": 0.25, "lr": 0.0, **SPEED}, 6)
    progress.say("data waits [no markup]")
    progress.stop()
    out, error = capsys.readouterr()
    assert out == ""
    first, second, third = error.splitlines()
    assert first.startswith(f"run · epoch 1/2 · loss 0.5000 · mIoU 12.35 % · {SHOWN} · ETA 0:00:0")
    assert second == f"run · epoch 2/2 · loss 0.2500 · {SHOWN}"
    longest = ("combined-seed0", "epoch 100/100", "mIoU 45.67 %", "123.4 img/s", "data 12 %", "ETA 10:00:00")
    assert len(" · ".join((*longest, "loss 1.2345"))) <= 100
    assert len(first.split(" · ")) == len(longest) + 1
    assert third == "run · data waits [no markup]"


def test_the_other_processes_of_a_run_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress = TrainingProgress("run", epochs=1, steps=1, done=0, enabled=False)
    progress.epoch({"epoch": 1, "loss": 0.5, "lr": 1e-3, **SPEED}, 1)
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
