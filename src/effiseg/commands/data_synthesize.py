"""`effiseg data synthesize`: draw the embedded street scenes into a folder."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from effiseg.config.data import parse_image_size
from effiseg.config.parsing import suggest
from effiseg.errors import UsageError


class _Parser(argparse.ArgumentParser):
    """argparse whose complaints are ours: one line, raised instead of printed."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see effiseg data synthesize --help)")


def run(argv: list[str]) -> int:
    """Parse, draw, say where the scenes lie and how to use them."""
    options = _parse(argv)
    from effiseg.data.synthetic import synthesize

    counts = {"train": options.train, "val": options.val, "test": options.test}
    height, width = options.size
    with _progress() as advance:
        drawn = synthesize(options.folder, counts, height, width, options.seed, advance)
    asked = ", ".join(f"{split} {count}" for split, count in counts.items() if count)
    state = f"{drawn} drawn now" if drawn else "all were there already"
    print(f"{options.folder}: street scenes of {height}x{width}, seed {options.seed}: {asked} ({state})")
    print(f"use them with: --data cityscapes --data_root {shlex.quote(options.folder)}")
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="effiseg data synthesize",
        allow_abbrev=False,
        description="Draw procedural street scenes with the 19 Cityscapes classes, in the Cityscapes layout. "
        "The same seed gives the same scenes. A cut run is completed by the same command.",
    )
    add = parser.add_argument
    add("folder", metavar="DIR", help="folder to write; new, empty, or one this command wrote before")
    add("--train", type=_count, default=600, metavar="N", help="training scenes (default: 600)")
    add("--val", type=_count, default=100, metavar="N", help="validation scenes (default: 100)")
    add("--test", type=_count, default=0, metavar="N", help="test scenes (default: 0)")
    add(
        "--size",
        type=parse_image_size,
        default=(128, 256),
        metavar="HxW",
        help="image size (default: 128x256)",
    )
    add("--seed", type=_count, default=0, metavar="N", help="seed of the scenes (default: 0)")
    options, unknown = parser.parse_known_args(argv)
    if unknown:
        known = [name for action in parser._actions for name in action.option_strings]
        word = unknown[0].split("=")[0]
        raise UsageError(f"unknown argument {word!r}{suggest(word, known) if word.startswith('-') else ''}")
    return options


def _count(text: str) -> int:
    """A whole number from 0 on.

    Raises:
        argparse.ArgumentTypeError: `text` is none.
    """
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 on; found {text!r}")
    return int(text)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar with the time left on stderr; stdout stays the result's."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("drawing scenes", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
