"""Lines about work that goes on: on stderr, in the name of the command that runs, and in log files."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

_QUIET = "EFFISEG_QUIET"
_RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "JSM_NAMESPACE_RANK")
"""Where torchrun, SLURM, Open MPI and LSF write the number of a process."""
_speaker: ContextVar[str] = ContextVar("speaker", default="effiseg")
_LOG = logging.getLogger("effiseg")
_LOG.setLevel(logging.INFO)
_LOG.propagate = False
_LOG.addHandler(logging.NullHandler())


@contextmanager
def quiet() -> Iterator[None]:
    """Let this process, and those it starts meanwhile, print nothing but results and errors."""
    before = os.environ.get(_QUIET)
    os.environ[_QUIET] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_QUIET]
        else:
            os.environ[_QUIET] = before


def is_quiet() -> bool:
    """Whether nothing but results and errors is to be printed: as asked, and by all but one process of a launcher."""
    return bool(os.environ.get(_QUIET)) or any(os.environ.get(name, "0") != "0" for name in _RANKS)


def log(text: str) -> None:
    """Write a line into the log files, and print nothing."""
    _LOG.info(text)


def say(text: str) -> None:
    """Print a line about the work on stderr, at once, unless all is to be quiet; log files get it in any case."""
    log(text)
    if not is_quiet():
        print(text, file=sys.stderr, flush=True)


def notice(text: str) -> None:
    """`say` in the name of the command, or function, that runs: "effiseg ablate: …"."""
    say(f"{_speaker.get()}: {text}")


@contextmanager
def speaking_as(name: str) -> Iterator[None]:
    """Let notices of this thread be those of a command meanwhile, for example "effiseg ablate"."""
    token = _speaker.set(name)
    try:
        yield
    finally:
        _speaker.reset(token)


class _LogFile(logging.FileHandler):
    """Lines with their times; a log that cannot be written ends no work."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", delay=True, errors="backslashreplace")
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        """Append a line, or nothing where that fails."""
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Silence in place of a traceback."""


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Append what is said meanwhile to a file, and what ends the work early.

    Args:
        path: the file; its folder exists when the first line is said.
    """
    handler = _LogFile(path)
    _LOG.addHandler(handler)
    try:
        yield
    except BaseException as error:
        _LOG.info("ended by %s: %s", type(error).__name__, " ".join(str(error).split()))
        raise
    finally:
        _LOG.removeHandler(handler)
        handler.close()
