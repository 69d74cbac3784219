"""What the command lines that are no settings dataclass share: a parser and argument types."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from effiseg.config.parsing import suggest
from effiseg.errors import UsageError


class CommandParser(argparse.ArgumentParser):
    """argparse whose complaints are one line each, raised instead of printed.

    Args:
        prog: how the command is called.
        description: one paragraph for its help.
    """

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{message} (see {self.prog} --help)")

    def parse(self, argv: Sequence[str], surplus: str = "") -> argparse.Namespace:
        """The options of a command line.

        Args:
            argv: the words after the command.
            surplus: said of a positional word that is one too many.

        Raises:
            UsageError: the words cannot be understood; an unknown option is named with the nearest known one.
            SystemExit: after --help.
        """
        known = [name for action in self._actions for name in action.option_strings]
        # Before argparse, which would rather complain of whatever is missing beside a mistyped option.
        for word in argv:
            name = word.partition("=")[0]
            if name == "--":
                break
            if name.startswith("--") and name not in known:
                raise UsageError(f"unknown option {name!r}{suggest(name, known)}")
        options, unknown = self.parse_known_args(argv)
        if unknown:
            raise UsageError(f"unknown argument {unknown[0]!r}{surplus and f'; {surplus}'}")
        return options


def positive(text: str) -> int:
    """A whole number from 1 on."""
    return _whole_number(text, 1)


def not_negative(text: str) -> int:
    """A whole number from 0 on."""
    return _whole_number(text, 0)


def _whole_number(text: str, least: int) -> int:
    """`text` as an int.

    Raises:
        argparse.ArgumentTypeError: not a whole number, or too small.
    """
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least} on; found {text!r}")
    return int(text)
