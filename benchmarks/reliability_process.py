"""Commands of effiseg in processes of their own, forked from one that has imported everything."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from effiseg.cli import main

LONGEST_SECONDS = 600.0
"""After this a command hangs."""
NOTHING_FOUND = 255
_MB = 2**20


@dataclass(frozen=True)
class Outcome:
    """The end of a command."""

    code: int
    """Its exit code; negative for a signal, as `subprocess` has it; `NOTHING_FOUND` cannot be."""
    seconds: float
    """From its start to its end."""
    growth_mb: float
    """Memory that it took beside what the process that forked it held."""
    error: str
    """Its stderr."""
    hung: bool
    """Whether it was stopped because it did not end."""

    @property
    def is_one_line(self) -> bool:
        """Whether a refusal is one line, and no fault of effiseg's own."""
        return not self.hung and self.code == 2 and len(self.error.strip().splitlines()) == 1 and not self.is_fault

    @property
    def is_fault(self) -> bool:
        """Whether the command ended by a fault of its own: a traceback, or a signal that nobody sent."""
        return self.hung or self.code == 70 or self.code < 0 or "Traceback" in self.error


def run_command(
    words: Sequence[str | Path],
    scratch: Path,
    *,
    stop: tuple[float, int] | None = None,
    file_bytes: int | None = None,
    watch: Callable[[int, float], None] | None = None,
    longest: float = LONGEST_SECONDS,
) -> Outcome:
    """Run `effiseg WORDS` to its end.

    Args:
        words: as they are typed.
        scratch: folder for what it says.
        stop: after so many seconds, this signal to all of its processes.
        file_bytes: no file may be larger, as on a disk that is full.
        watch: called with the process's number and the seconds since its start, ten times a second.
        longest: seconds after which it hangs.
    """
    said = scratch / "stderr.txt"
    started = time.monotonic()
    before = _resident_mb(os.getpid())
    number = os.fork()
    if number == 0:
        _become_command([os.fspath(word) for word in words], said, file_bytes)
    code, peak, stopped, hung = None, before, stop is None, False
    while code is None:
        ended, status, usage = os.wait4(number, os.WNOHANG)
        seconds = time.monotonic() - started
        if ended:
            code, peak = os.waitstatus_to_exitcode(status), usage.ru_maxrss / 1024
            break
        if stop is not None and not stopped and seconds >= stop[0]:
            stopped = True
            _signal_all(number, stop[1])
        if seconds >= longest:
            hung = True
            _signal_all(number, signal.SIGKILL)
        if watch is not None:
            watch(number, seconds)
        time.sleep(0.1 if watch is not None else 0.01)
    _signal_all(number, signal.SIGKILL)  # loader processes of one that was killed
    return Outcome(code, time.monotonic() - started, max(0.0, peak - before), said.read_text("utf-8", "replace"), hung)


def _become_command(words: list[str], said: Path, file_bytes: int | None) -> None:
    """Run the command in this process, which ends with it."""
    code = NOTHING_FOUND
    try:
        os.setsid()
        with said.open("w") as stream, Path(os.devnull).open("r+") as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(nothing.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        if file_bytes is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
        code = main(words)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        os._exit(code)


def _signal_all(number: int, number_of_signal: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(number, number_of_signal)


def resident_mb(number: int) -> float:
    """Memory of a process and those that it started, MB; shared pages count in each."""
    children: list[int] = []
    with contextlib.suppress(OSError):
        children = [int(child) for child in Path(f"/proc/{number}/task/{number}/children").read_text().split()]
    return _resident_mb(number) + sum(_resident_mb(child) for child in children)


def _resident_mb(number: int) -> float:
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{number}/statm").read_text().split()[1]) * resource.getpagesize() / _MB
    return 0.0
