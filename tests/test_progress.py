from __future__ import annotations

import io
import itertools
import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from effiseg.progress import progress_bar
from effiseg.training.progress import TrainingProgress


class Terminal(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        return True


def test_without_a_terminal_lines_come_as_often_as_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 4.0, 10.0, 12.0, 20.0, 30.0])
    monkeypatch.setattr("effiseg.progress.time", SimpleNamespace(monotonic=lambda: next(clock)))
    with progress_bar("reading masks", log_seconds=10) as advance:
        for done in (1, 2, 3, 4, 5):
            advance(done, 5)
    shown = capsys.readouterr()
    assert shown.err.splitlines() == ["reading masks: 2 of 5, ETA 0:00:15", "reading masks: 4 of 5, ETA 0:00:05"]
    assert shown.out == ""


def test_without_a_terminal_nothing_is_shown_where_no_lines_are_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("reading masks") as advance:
        advance(1, 2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("colors", [True, False])
def test_no_color_is_honored(colors: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "EFFISEG_QUIET", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    if not colors:
        monkeypatch.setenv("NO_COLOR", "1")
    with progress_bar("reading masks") as advance:
        advance(1, 2)
    progress = TrainingProgress("run", epochs=1, steps=2, done=0)
    progress.step(1, 1, 0.5)
    progress.stop()
    shown = terminal.getvalue()
    assert "reading masks" in shown
    assert "run · epoch 1/1" in shown
    codes = {int(code) for found in re.findall(r"\x1b\[([0-9;]*)m", shown) for code in found.split(";") if code}
    assert any(30 <= code <= 49 or 90 <= code <= 107 for code in codes) is colors


def test_a_notebook_gets_one_output_that_is_replaced_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    display = pytest.importorskip("IPython.display")
    outputs: list[list[str]] = []

    def show(bar: Any, display_id: bool) -> Any:
        assert display_id
        outputs.append([bar.data])
        return SimpleNamespace(update=lambda bar: outputs[-1].append(bar.data))

    monkeypatch.setattr(display, "display", show)
    for module in ("effiseg.progress", "effiseg.training.progress"):
        monkeypatch.setattr(f"{module}.in_notebook", lambda: True)
    clock = itertools.count(step=0.01)
    monkeypatch.setattr("effiseg.notebook.time", SimpleNamespace(monotonic=lambda: next(clock)))
    with progress_bar("reading <masks>", log_seconds=1, unit="images") as advance:
        for done in range(1, 1001):
            advance(done, 1000)
    progress = TrainingProgress("run", epochs=1, steps=1000, done=0)
    assert progress.is_due()
    for step in range(1, 1001):
        progress.step(step, 1, 0.5)
    progress.validating(1, 3)
    progress.stop()
    reading, training = outputs
    assert 30 <= len(reading) <= 50
    assert 30 <= len(training) <= 50
    assert reading[0].startswith('<progress value="1" max="1000"></progress> reading &lt;masks&gt; 1/1000 · ETA ')
    assert training[0].startswith(
        '<progress value="1" max="1000"></progress> run · epoch 1/1 · 1/1000 steps · loss 0.5000'
    )
    assert reading[-1] == training[-1] == ""
    assert capsys.readouterr() == ("", "")
