"""How far a long piece of work is: a bar with the time left on a terminal, and lines in a log where they are asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from effiseg.messages import is_quiet, log, notice, say

Progress = Callable[[int, int], None]
"""Called with (things done, things in all)."""


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Say what is done meanwhile, on a terminal with a sign that it goes on, gone afterwards.

    Args:
        text: the work, as "loading PyTorch".
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal or is_quiet():
        notice(text)
        yield
        return
    log(text)
    with console.status(text):
        yield


@contextmanager
def progress_bar(description: str, log_seconds: float | None = None, unit: str | None = None) -> Iterator[Progress]:
    """A bar with the time left on stderr, gone afterwards; stdout stays the result's.

    Args:
        description: what is done; one or two words.
        log_seconds: where stderr is no terminal, print a line as often as this; None prints nothing there.
        unit: what is counted; the bar then shows how many of them are done in a second.

    Yields:
        The function to tell (things done, things in all).
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    # Asked once: while a decoder works, stderr is none (`data/decoder_messages.py`).
    console = Console(stderr=True, force_terminal=Console(stderr=True).is_terminal, quiet=is_quiet())
    if not console.is_terminal and log_seconds is not None:
        yield _log_lines(description, log_seconds)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
    )
    started = time.monotonic()
    with Bar(*columns, console=console, transient=True, disable=is_quiet() or not console.is_terminal) as progress:
        task = progress.add_task(description, total=None, rate="")

        def tell(done: int, total: int) -> None:
            rate = f"{done / max(time.monotonic() - started, 1e-9):.1f} {unit}/s" if unit else ""
            progress.update(task, completed=done, total=total, rate=rate)

        yield tell


def _log_lines(description: str, seconds: float) -> Progress:
    started = time.monotonic()
    due = started + seconds

    def tell(done: int, total: int) -> None:
        nonlocal due
        now = time.monotonic()
        if now >= due and 0 < done < total:
            due = now + seconds
            left = format_seconds((now - started) / done * (total - done))
            say(f"{description}: {done} of {total}, ETA {left}")

    return tell


def format_seconds(seconds: float) -> str:
    """h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
