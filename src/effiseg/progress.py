"""How far long work is: a bar with the time left on a terminal and in notebooks, lines in a log where asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from effiseg.messages import is_quiet, log, notice, say
from effiseg.notebook import NotebookBar, in_notebook

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
    """A bar with the time left on stderr, in notebooks under the cell, gone afterwards; stdout stays the result's.

    Args:
        description: what is done; one or two words.
        log_seconds: where there is neither terminal nor notebook, print a line as often as this; None prints nothing.
        unit: what is counted; the bar then shows how many of them are done in a second.

    Yields:
        The function to tell (things done, things in all).
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    if in_notebook() and not is_quiet():
        with closing(NotebookBar()) as bar:
            yield _shown_in(bar, description, unit)
        return
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
            progress.update(task, completed=done, total=total, rate=_rate(done, started, unit))

        yield tell


def _shown_in(bar: NotebookBar, description: str, unit: str | None) -> Progress:
    started = time.monotonic()

    def tell(done: int, total: int) -> None:
        left = (time.monotonic() - started) / max(done, 1) * (total - done)
        words = [f"{description} {done}/{total}", f"ETA {format_seconds(left) if done else '–'}"]
        bar.show(done, total, " · ".join([*words, *filter(None, [_rate(done, started, unit)])]))

    return tell


def _rate(done: int, started: float, unit: str | None) -> str:
    return f"{done / max(time.monotonic() - started, 1e-9):.1f} {unit}/s" if unit else ""


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
