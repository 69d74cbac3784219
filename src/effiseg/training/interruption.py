"""SIGINT and SIGTERM as a request to stop after the current step."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType, TracebackType
from typing import Any


class SignalWatch:
    """While entered, the first SIGINT or SIGTERM is only noted; a second SIGINT ends the process at once.

    Ending at once is safe: every file is replaced atomically, so the last checkpoint stays whole.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> SignalWatch:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            os._exit(128 + signal.SIGINT)
        self.received = number
        name = signal.Signals(number).name
        # os.write, because a handler must not re-enter the buffered stream it may have interrupted.
        message = f"\n{name}: stopping after this step and saving; press Ctrl-C again to stop at once\n"
        os.write(sys.stderr.fileno() if _has_descriptor(sys.stderr) else 2, message.encode())


def _has_descriptor(stream: Any) -> bool:
    try:
        stream.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    return True
