from __future__ import annotations

from types import SimpleNamespace

import pytest

from effiseg.progress import progress_bar


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
