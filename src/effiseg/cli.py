"""The command table, written by hand so that `effiseg --help` imports nothing heavy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

from effiseg.errors import EffisegError, printable
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
    Command("export", "effiseg.commands.export", "Write a model as a file for an engine, or as a page."),
    Command("serve", "effiseg.commands.serve", "A page that runs models in browsers, and an HTTP interface."),
    Command("convert", "effiseg.commands.convert", "Make a model folder of others' weights, without training."),
    Command("push", "effiseg.commands.push", "Upload a model folder to the Hugging Face Hub."),
    Command("ablate", "effiseg.commands.ablate", "Train and compare teacher, baseline and every strategy."),
    Command("report", "effiseg.commands.report", "Runs and comparisons as one page, figures and tables."),
    Command("demo", "effiseg.commands.demo", "The comparison on embedded street scenes, in minutes."),
    Command("benchmark", "effiseg.commands.benchmark", "Time models in the engines that run them, in turns."),
    Command("inspect-norms", "effiseg.commands.inspect_norms", "Which norms may become DyT, which DyL: fits, figures."),
    Command("data check", "effiseg.commands.data_check", "Name every fault of a data set, all at once."),
    Command("data stats", "effiseg.commands.data_stats", "Pixel shares per class and split, and class weights."),
    Command("data convert", "effiseg.commands.data_convert", "Write a data set of any format as label PNGs."),
    Command("data shard", "effiseg.commands.data_shard", "Write pictures, with masks or without, as tar shards."),
    Command("data synthesize", "effiseg.commands.data_synthesize", "Draw street scenes in the Cityscapes layout."),
)


def help_text() -> str:
    """The text of `effiseg --help`."""
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
        The exit code: 0 done, 2 a mistake of the user's or a refusal of the system's (one line on stderr), 70 a fault
        of ours (one line that says where its traceback lies), 130 or 143 stopped by a signal, 141 nobody reads on.
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
            code = _guarded(command, words[length:])
            if code == 130 and argv is None:  # this process has nothing else to do
                _end_at_next_interrupt()
            return code
    return unknown(words)


def _guarded(command: Command, argv: list[str]) -> int:
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
    except Exception as error:
        print(f"effiseg {command.name}: {_last_words(error, argv)}", file=sys.stderr)
        return 2 if isinstance(error, OSError) and error.strerror else 70


def _end_at_next_interrupt() -> None:
    """Let another Ctrl-C end the process without a traceback while the interpreter closes down."""
    import os
    import signal

    signal.signal(signal.SIGINT, lambda number, frame: os._exit(130))


def _last_words(error: Exception, argv: list[str]) -> str:
    """One line for an error that nobody foresaw: the system's own words, or where the traceback lies."""
    if isinstance(error, OSError) and error.strerror:
        return printable(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    import traceback

    text = "".join(traceback.format_exception(error))
    what = printable(" ".join(f"{type(error).__name__}: {error}".split())[:300])
    place = _keep_traceback(text, argv)
    if place is None:
        print(text, file=sys.stderr)
    where = "stands above" if place is None else f"is in {place}"
    return f"a fault of effiseg's own ({what}); its traceback {where}; please report it"


def _keep_traceback(text: str, argv: list[str]) -> str | None:
    """Write the traceback into the folder of --out, else into a temporary file; None where neither can be."""
    import tempfile
    from pathlib import Path

    outs = [argv[i + 1] for i, word in enumerate(argv[:-1]) if word == "--out"]
    outs += [word.removeprefix("--out=") for word in argv if word.startswith("--out=")]
    for out in outs:
        file = Path(out) / "traceback.txt"
        try:
            if not file.parent.is_dir():
                continue
            file.write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError:
            continue
        return printable(str(file))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="effiseg-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as stream:
            stream.write(text)
    except OSError:
        return None
    return stream.name


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
