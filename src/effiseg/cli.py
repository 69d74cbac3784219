"""The command table, written by hand so that `effiseg --help` imports nothing heavy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

from effiseg.errors import EffisegError
from effiseg.version import __version__


class Command(NamedTuple):
    """One line of the table."""

    name: str
    module: str
    summary: str


COMMANDS = (
    Command("train", "effiseg.commands.train", "Train or distil a model, or go on with an interrupted run."),
    Command("pretrain", "effiseg.commands.pretrain", "Make starting weights from pictures drawn on the way."),
    Command("evaluate", "effiseg.commands.evaluate", "Score a model, or label PNGs of any software, on a split."),
    Command("predict", "effiseg.commands.predict", "Label images, videos and streams with a model."),
    Command("export", "effiseg.commands.export", "Write a model as a file for an engine, and check it."),
    Command("push", "effiseg.commands.push", "Upload a model folder to the Hugging Face Hub."),
    Command("ablate", "effiseg.commands.ablate", "Train and compare teacher, baseline and every strategy."),
    Command("report", "effiseg.commands.report", "Runs and comparisons as one page, figures and tables."),
    Command("demo", "effiseg.commands.demo", "The comparison on embedded street scenes, in minutes."),
    Command("benchmark", "effiseg.commands.benchmark", "Time models in the engines that run them, in turns."),
    Command("inspect-norms", "effiseg.commands.inspect_norms", "Which norms may become DyT, which DyL: fits, figures."),
    Command("data check", "effiseg.commands.data_check", "Name every fault of a data set, all at once."),
    Command("data stats", "effiseg.commands.data_stats", "Pixel shares per class and split, and class weights."),
    Command("data convert", "effiseg.commands.data_convert", "Write a data set of any format as label PNGs."),
    Command("data synthesize", "effiseg.commands.data_synthesize", "Draw street scenes in the Cityscapes layout."),
)


def help_text() -> str:
    """What `effiseg --help` prints."""
    width = max(len(command.name) for command in COMMANDS)
    lines = [f"  {command.name:<{width}}  {command.summary}" for command in COMMANDS]
    return "\n".join(
        [
            "usage: effiseg COMMAND [options]",
            "",
            "Small, fast segmentation models that are also good.",
            "",
            "commands:",
            *lines,
            "",
            "`effiseg COMMAND --help` lists a command's options; `effiseg --version` prints the version.",
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after `effiseg`; None takes the process's own.

    Returns:
        The exit code: 0 done, 2 a mistake of the user's (one line on stderr), 130 or 143 stopped by a signal.
    """
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0 if words else 2
    if words[0] == "--version":
        print(f"effiseg {__version__}")
        return 0
    for command in COMMANDS:
        length = len(command.name.split())
        if words[:length] == command.name.split():
            return guarded(command, words[length:])
    return unknown(words)


def guarded(command: Command, argv: list[str]) -> int:
    """Import and run a command; a user's mistake becomes one line and its exit code."""
    try:
        run: Callable[[list[str]], int] = import_module(command.module).run
        return run(argv)
    except EffisegError as error:
        print(f"effiseg {command.name}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"effiseg {command.name}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (`effiseg … | head`).
        sys.stderr.close()
        return 141


def unknown(words: list[str]) -> int:
    """Name the nearest command."""
    import difflib

    names = [command.name for command in COMMANDS]
    typed = " ".join(words[:2])
    group = [name for name in names if name.split()[0] == words[0]]
    if group:
        hint = f"{words[0]} needs one of: {', '.join(name.split()[1] for name in group)}"
    else:
        near = difflib.get_close_matches(typed, names, n=1) or difflib.get_close_matches(words[0], names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see `effiseg --help`"
    print(f"effiseg: unknown command {words[0] if not group else typed!r}; {hint}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
