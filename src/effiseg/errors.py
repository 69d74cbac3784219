"""Every error a user can cause.

    EffisegError                 exit code 2, printed as one line without a traceback
    ├── UsageError               a command line or configuration that cannot be carried out
    ├── DataError                a data set, image or mask that breaks a rule
    ├── ModelError               a model folder or weights that cannot be used
    ├── RunError                 a run folder in the wrong state (exists already, cannot be resumed, …)
    ├── ResourceError            memory or room on a disk that does not suffice, or a file the system refuses to write
    └── Interrupted              a signal ended the work after its state was saved; exit code 130 or 143

A message says the rule, what was found, and the likely fix, and names the file. Bugs of ours are not
EffisegErrors: invariants are asserted. In Python they are raised as they are; the command line says in one line where
their traceback lies, and ends with the exit code 70.
"""

import unicodedata

_LONGEST = 2000
_DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"


def printable(text: str) -> str:
    """Text that may hold names of files, for one line of a terminal or a file.

    Control characters and what is no text (bytes that are no UTF-8 in a name) are written as \\n, \\x1b, \\udcff.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(sign if is_shown(sign) else sign.encode("unicode_escape").decode() for sign in text)


def is_shown(sign: str) -> bool:
    """Whether a character is text: no control, no line end, no change of direction, no byte that is no UTF-8."""
    return unicodedata.category(sign) not in ("Cc", "Cs", "Zl", "Zp") and sign not in _DIRECTIONS


def _cut(text: str) -> str:
    """Both ends of a message that a value of thousands of characters has made unreadable."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"


class EffisegError(Exception):
    """A mistake the user can mend; the message is one line for them to read, whatever names it holds."""

    exit_code = 2

    def __init__(self, message: object = "") -> None:
        super().__init__(_cut(printable(str(message))))


class UsageError(EffisegError):
    """A command line or configuration that cannot be carried out."""


class DataError(EffisegError):
    """A data set, image or mask that breaks a rule."""


class ModelError(EffisegError):
    """A model folder or weights that cannot be used."""


class RunError(EffisegError):
    """A run folder in the wrong state."""


class ResourceError(EffisegError):
    """Memory or room on a disk that does not suffice for what was asked, or a file that the system refuses to write.

    Args:
        message: the line to read.
        found: its first part alone, without the advice for a single run.
        accumulate: passes per optimizer step with which the same batch would fit; None if that is not the remedy.
    """

    def __init__(self, message: str, *, found: str = "", accumulate: int | None = None) -> None:
        super().__init__(message)
        self.found = found or message
        self.accumulate = accumulate


class Interrupted(EffisegError):  # noqa: N818 - it ends work, nothing is wrong
    """A signal ended the work after its state was saved.

    Args:
        message: what was saved and how to go on.
        signal_number: the signal; the exit code is 128 plus it, as shells expect.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number
