"""Lines about work: quiet, in a command's name, and kept in a log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from effiseg.messages import logged_to, notice, quiet, say, speaking_as


def test_a_log_has_what_was_said_with_times_and_how_it_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        with logged_to(tmp_path / "log.txt"), quiet():
            say("first")
            raise ValueError("broken\nin two lines")

    with pytest.raises(ValueError, match="broken"):
        work()
    say("after it")
    assert capsys.readouterr().err == "after it\n"
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "", line) for line in lines] == [
        "first",
        "ended by ValueError: broken in two lines",
    ]


def test_notices_come_in_the_name_of_what_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with speaking_as("effiseg ablate"):
        notice("a row")
    notice("nobody in particular")
    assert capsys.readouterr().err == "effiseg ablate: a row\neffiseg: nobody in particular\n"


def test_a_log_that_cannot_be_written_ends_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logged_to(tmp_path / "nowhere" / "log.txt"):
        say("still here")
    assert capsys.readouterr().err == "still here\n"
