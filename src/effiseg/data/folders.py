"""Files below a folder or matching a glob: hidden ones passed over, links followed once.

Paths are strings, and the kind of a file is what the folder says of it, so that 100 000 files take a second.
"""
# ruff: noqa: PTH207

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterator
from pathlib import Path

from effiseg.data.names import is_hidden
from effiseg.errors import DataError

_WILDCARDS = "*?["


def walk_files(folder: str, passed_over: list[str]) -> Iterator[str]:
    """Everything below `folder` that is no folder: own folders first, then links to folders.

    A folder that was read already, or is being read, is not read again: links into parents end there.

    Args:
        folder: where to begin; it may be hidden itself.
        passed_over: where hidden files and folders are noted.

    Raises:
        DataError: a folder cannot be read.
    """
    waiting, links = [folder], list[str]()
    visited: set[tuple[int, int]] = set()
    while waiting or links:
        here = waiting.pop() if waiting else links.pop(0)
        try:
            state = os.stat(here)  # noqa: PTH116
            if (state.st_dev, state.st_ino) in visited:
                continue
            visited.add((state.st_dev, state.st_ino))
            with os.scandir(here) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(f"{here}: folder cannot be read ({error.strerror or error})") from None
        below = []
        for entry in entries:
            if is_hidden(entry.name):
                passed_over.append(entry.path)
            elif not entry.is_dir():
                yield entry.path
            elif entry.is_symlink():
                links.append(entry.path)
            else:
                below.append(entry.path)
        waiting += reversed(below)


def glob_files(pattern: str, passed_over: list[str]) -> list[str]:
    """Everything that matches a glob, folders left out; "**" stands for any folders, also none.

    Args:
        pattern: absolute or relative to the working directory.
        passed_over: where hidden files and folders are noted that a wildcard would match.

    Raises:
        DataError: a folder cannot be read.
    """
    parts = Path(pattern).parts
    if "**" not in parts:
        found = glob.glob(pattern, include_hidden=True)
        return [path for path in found if not os.path.isdir(path) and not _noted(path, parts, passed_over)]  # noqa: PTH112
    fixed = parts.index("**")
    rest = parts[fixed:] if parts[-1] != "**" else (*parts[fixed:], "*")
    matches: list[str] = []
    base = str(Path(*parts[:fixed])) if fixed else "."
    for folder in sorted(glob.glob(base, include_hidden=True)):
        if not os.path.isdir(folder) or _noted(folder, parts[:fixed], passed_over):  # noqa: PTH112
            continue
        for path in walk_files(folder, passed_over):
            if _matches(Path(os.path.relpath(path, folder)).parts, rest):
                matches.append(path if fixed else os.path.relpath(path, folder))
    return list(dict.fromkeys(matches))


def has_wildcard(text: str) -> bool:
    """Whether a path, or a part of one, is a pattern."""
    return any(sign in text for sign in _WILDCARDS)


def _noted(path: str, pattern: tuple[str, ...], passed_over: list[str]) -> bool:
    """Whether a wildcard that does not ask for it matches something hidden."""
    for name, part in zip(Path(path).parts, pattern, strict=False):
        if is_hidden(name) and has_wildcard(part) and not part.startswith("."):
            passed_over.append(path)
            return True
    return False


def _matches(names: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not names
    if pattern[0] == "**":
        return any(_matches(names[start:], pattern[1:]) for start in range(len(names) + 1))
    return bool(names) and fnmatch.fnmatchcase(names[0], pattern[0]) and _matches(names[1:], pattern[1:])
