"""The command line: which command, in whose name it speaks, and how mistakes and faults end it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

from effiseg.commands.table import COMMANDS, Command
from effiseg.errors import EffisegError, printable
from effiseg.messages import quiet, speaking_as
from effiseg.version import __version__


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
            "`effiseg COMMAND --help` lists a command's options; `effiseg --version` (-V) lists versions;",
            "`--quiet` behind any command leaves results and errors alone.",
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
    if words[:1] == ["help"] and words[1:]:
        words = [*words[1:], "--help"]
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        print(_versions())
        return 0
    for command in COMMANDS:
        length = len(command.name.split())
        if words[:length] == command.name.split():
            with _quiet_if_asked(words) as words:
                code = _guarded(command, words[length:])
            if code == 130 and argv is None:  # this process has nothing else to do
                _end_at_next_interrupt()
            return code
    return unknown(words)


def _versions() -> str:
    """The version, and those of Python and of the packages that compute."""
    import platform

    from effiseg.environment import package_versions

    found = {"Python": platform.python_version(), **package_versions()}
    installed = ", ".join(f"{name} {version}" for name, version in found.items() if version and name != "effiseg")
    return f"effiseg {__version__}\n{installed}"


@contextmanager
def _quiet_if_asked(words: list[str]) -> Iterator[list[str]]:
    """The words without `--quiet`; where it was among them, nothing but results and errors is printed meanwhile."""
    end = words.index("--") if "--" in words else len(words)
    if "--quiet" not in words[:end]:
        yield words
        return
    with quiet():
        yield [word for word in words[:end] if word != "--quiet"] + words[end:]


def _guarded(command: Command, argv: list[str]) -> int:
    """Import and run a command; a user's mistake becomes one line and its exit code."""
    try:
        run: Callable[[list[str]], int] = import_module(command.module).run
        with speaking_as(f"effiseg {command.name}"):
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
    if group and words[1:] in (["--help"], ["-h"], ["help"]):
        print("\n".join(f"  {command.name}  {command.summary}" for command in COMMANDS if command.name in group))
        return 0
    if group:
        hint = f"{words[0]} needs one of: {', '.join(name.split()[1] for name in group)}"
    else:
        near = difflib.get_close_matches(typed, names, n=1) or difflib.get_close_matches(words[0], names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see `effiseg --help`"
    print(f"effiseg: unknown command {words[0] if not group else typed!r}; {hint}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
