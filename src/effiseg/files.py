"""Reading and writing small files safely: atomic writes, a lock, YAML and JSON with errors that name the file."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from effiseg.errors import UsageError

_KEPT_BYTES = 200
"""Of a file's name in that of its temporary file."""


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on failure it is removed.

    The temporary file lies in the target's own folder, so the replacement is one `os.replace` on one file
    system: a reader (or a kill at any moment) sees the old file or the whole new one, never a part.

    Args:
        path: the final file. Its parent folders are made.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Names have at most 255 bytes, and the target's may have them all.
    beginning = os.fsdecode(os.fsencode(target.name)[:_KEPT_BYTES])
    handle, name = tempfile.mkstemp(prefix=f".{beginning}.", suffix=".partial", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes 0600; a result should be as readable as any file
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class LockedError(Exception):
    """Another process holds a lock; the message names it: "process 4711 on myhost"."""


@contextmanager
def exclusive_lock(path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep other processes out while inside; the system opens the lock when this process ends, however it ends.

    The file stays: were it removed, two processes could lock two files of that name. It is a record lock, because a
    lock of flock(2) is inherited by forked loader workers, which outlive a killed trainer by seconds. Within one
    process it keeps nobody out. On Windows, and on file systems without locks, nothing is locked.

    Args:
        path: the lock's own file, made where it is missing; it tells who holds it.

    Raises:
        LockedError: another process holds it.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                holder = os.read(handle, 200).decode("utf-8", "replace").strip()
                raise LockedError(holder or "another process") from None
        else:
            os.ftruncate(handle, 0)
            os.write(handle, f"process {os.getpid()} on {platform.node()}\n".encode())
        yield
    finally:
        os.close(handle)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data`, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON, atomically; a list of numbers takes one line.

    NaN is refused because JSON has none.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    # No quote and no bracket inside, so it is neither a part of a string nor a list of lists.
    text = re.sub(
        r'\[\n[^"\[\]{}]*\]', lambda found: re.sub(r"\s+", " ", found[0]).replace("[ ", "[").replace(" ]", "]"), text
    )
    write_text(path, text + "\n")


def write_yaml(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as YAML in the order given, atomically."""
    write_text(path, yaml.safe_dump(value, sort_keys=False, allow_unicode=True))


def read_text(path: str | os.PathLike[str]) -> str:
    """The file's text.

    Raises:
        UsageError: the file does not exist, cannot be read, or is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as text ({error})") from None


def read_json(path: str | os.PathLike[str]) -> Any:
    """The parsed JSON file.

    Raises:
        UsageError: the file is missing or is not JSON.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}: not valid JSON, line {error.lineno}: {error.msg}") from None


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The parsed YAML file, which must be a mapping; only plain data is constructed.

    Raises:
        UsageError: the file is missing, is not YAML, or its top level is not a mapping.
    """
    try:
        value = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise UsageError(f"{path}: not valid YAML{where}: {getattr(error, 'problem', error)}") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path}: must hold 'key: value' lines, found {type(value).__name__}")
    return value
