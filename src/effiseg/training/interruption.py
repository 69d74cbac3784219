"""SIGINT and SIGTERM as a request to stop: after the current step while training, at once elsewhere."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

from effiseg.data.cache_storage import remove_ram_storage
from effiseg.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SignalWatch:
    """While entered, SIGINT and SIGTERM end a run in good order.

    While `patient`, the first signal is only noted, for the training loop to stop after its step, and a second
    SIGINT ends the process at once; that is safe, because every file is replaced atomically. In a notebook or at a
    prompt it raises `Interrupted` instead. Otherwise a signal raises KeyboardInterrupt where it comes, and leaving
    the watch makes that `Interrupted`.

    Args:
        hint: how to go on; ends the message of `Interrupted`.
        spawned: this is one process of data-parallel training: it notes every signal and says nothing, because
            its parent speaks, passes on what it receives, and ends its children when told twice.
    """

    def __init__(self, hint: str = "", *, spawned: bool = False) -> None:
        self.hint = hint
        self.spawned = spawned
        self.patient = spawned
        self.received: int | None = None
        """The first signal that came."""
        self._process = os.getpid()
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> SignalWatch:
        # getsignal knows no handler that was not set from Python.
        self._previous = {number: signal.getsignal(number) or signal.SIG_DFL for number in _SIGNALS}
        self.listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._previous.items():
                signal.signal(number, handler)
        if kind is KeyboardInterrupt and self.received is not None:
            raise Interrupted(f"stopped by {signal.Signals(self.received).name}; {self.hint}", self.received) from None

    def listen(self) -> None:
        """Take the two signals, also from a library that took them meanwhile; only a main thread can."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            # A loader worker, forked with this handler. Ctrl-C reaches it too, but is meant for the trainer.
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        again = self.received is not None
        self.received = self.received or number
        if not self.patient:
            raise KeyboardInterrupt
        if self.spawned:
            return
        if again and number == signal.SIGINT:
            if hasattr(sys, "ps1"):  # a notebook or prompt, which holds more than this run
                raise Interrupted(f"stopped at once, after the last checkpoint; {self.hint}", number)
            self._end_at_once()
        for child in _spawned_processes():
            os.kill(child, signal.SIGTERM)
        if not again:
            name = signal.Signals(number).name
            _say(f"\n{name}: stopping after this step and saving; press Ctrl-C again to stop at once\n")

    def _end_at_once(self) -> None:
        for child in _spawned_processes():
            os.kill(child, signal.SIGKILL)
        remove_ram_storage()  # which _exit would leave behind
        if sys.stderr is not None and sys.stderr.isatty():
            _say("\x1b[?25h\n")  # the cursor, which the progress bar hides
        os._exit(128 + signal.SIGINT)


def _spawned_processes() -> list[int]:
    """Processes of data-parallel training that are alive; loader workers, which are daemons, are not meant."""
    return [child.pid for child in multiprocessing.active_children() if not child.daemon and child.pid is not None]


def _say(text: str) -> None:
    # os.write, because a handler must not re-enter the buffered stream it may have interrupted.
    try:
        os.write(sys.stderr.fileno(), text.encode())
    except (AttributeError, OSError, ValueError):  # no stderr, or one without a descriptor
        return
