"""Messages of the JPEG decoder, which OpenCV lets it write to the terminal, kept from it."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from typing import BinaryIO

_STDERR = 2
_MOST_BYTES = 2**20
_MESSAGE = re.compile(
    rb"(Corrupt JPEG data|Premature end of JPEG|Invalid SOS parameters|Inconsistent progression sequence|"
    rb"Unknown Adobe color transform|Warning: unknown JFIF revision|Application transferred too )[^\n]*\n"
)


class _Terminal:
    """The process's stderr while some thread decodes: a file, whose content goes on without those messages."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.threads = 0
        self.real = -1
        self.kept: BinaryIO | None = None
        self.told = 0

    def begin(self) -> None:
        """Turn stderr to the file, unless another thread has."""
        with self.lock:
            self.threads += 1
            if self.threads == 1 and hasattr(os, "pread"):
                with contextlib.suppress(OSError):  # stderr is closed, or no file can be made
                    self.kept = self.kept or tempfile.TemporaryFile()  # noqa: SIM115 - stays open
                    self.real = os.dup(_STDERR)
                    os.dup2(self.kept.fileno(), _STDERR)

    def end(self) -> None:
        """Hand on what others wrote meanwhile; the last thread turns stderr back."""
        with self.lock:
            self.threads -= 1
            if self.real < 0 or self.kept is None:
                return
            if self.threads == 0:
                os.dup2(self.real, _STDERR)
            if written := os.pread(self.kept.fileno(), _MOST_BYTES, self.told):
                self.told += len(written)
                _write(self.real, _MESSAGE.sub(b"", written))
            if self.threads == 0:
                os.close(self.real)
                self.real = -1
                if self.told:
                    self.told = 0
                    self.kept.seek(0)  # stderr wrote at this place
                    self.kept.truncate()

    def after_fork(self) -> None:
        """Begin anew: a child has its own stderr and lock, whatever its parent's threads were doing."""
        if self.real >= 0:
            os.dup2(self.real, _STDERR)
            os.close(self.real)
        self.__init__()  # type: ignore[misc]


def _write(handle: int, data: bytes) -> None:
    with contextlib.suppress(OSError):  # nobody reads it any more
        while data:
            data = data[os.write(handle, data) :]


_terminal = _Terminal()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_terminal.after_fork)


@contextlib.contextmanager
def without_jpeg_messages() -> Iterator[None]:
    """Keep what libjpeg says of damaged files from stderr; what others write there arrives when the decoder is done.

    libjpeg writes to the process's stderr and names no file. Whether a JPEG is damaged inside shows only when it is
    decoded, and Pillow, which keeps it silent, takes nearly twice as long.
    """
    _terminal.begin()
    try:
        yield
    finally:
        _terminal.end()
