"""Reading and writing small files safely: atomic writes, a lock, bounded YAML and JSON, errors that name the file."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from effiseg.environment import available_memory
from effiseg.errors import EffisegError, ResourceError, UsageError
from effiseg.plain_yaml import PlainDumper, PlainLoader, refuse_hidden_growth

_KEPT_BYTES = 200
"""Of a file's name in that of its temporary file."""
SETTINGS_BYTES = 16_000_000
"""The most that a file of settings may hold."""
_BYTES_PER_JSON_BYTE = 8
"""Memory that parsed JSON takes, a little more than what COCO annotations were seen to take."""
_ABANDONED_SECONDS = 24 * 3600
_HOST = hashlib.blake2b(platform.node().encode(), digest_size=4).hexdigest()
_OWNER = re.compile(r"\.(\d+)-([0-9a-f]{8})-\w+\.partial(\.\w+)?$")
_PROBE_BYTES = 2**20
_OS_ERROR = re.compile(r"\(os error (\d+)\)")  # what safetensors says
_in_progress: set[str] = set()
_swept: set[Path] = set()


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on failure it is removed.

    The temporary file lies in the target's own folder, so the replacement is one `os.replace` on one file
    system: a reader (or a kill at any moment) sees the old file or the whole new one, never a part. What killed
    processes left in the folder is removed when the first file of this process goes there.

    Args:
        path: the final file. Its parent folders are made.

    Raises:
        ResourceError: the system refuses to write it.
    """
    target = Path(path)
    with writing(target):
        make_folder(target.parent)
        handle, name = tempfile.mkstemp(prefix=partial_prefix(target), suffix=".partial", dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        _in_progress.add(temporary.name)
        try:
            yield temporary
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)  # mkstemp makes 0600; a result should be as readable as any file
            temporary.replace(target)
        except Exception as error:
            try:
                with temporary.open("ab") as stream:  # whatever a library says of it: can the file grow?
                    stream.write(bytes(_PROBE_BYTES))
            except OSError as refusal:
                raise refusal from error
            raise
        finally:
            temporary.unlink(missing_ok=True)  # where it did not become the target
            _in_progress.discard(temporary.name)


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Make one line of the system's refusal to write: no room, no permission, a file in a folder's place.

    Libraries that write files say it in many ways; where one fails, a small file is written to see whether any can be.

    Args:
        path: what is being written.

    Raises:
        ResourceError: the path, the reason, and what to do.
    """
    try:
        yield
    except EffisegError:
        raise
    except Exception as error:
        refusal = _refusal(error, Path(path).parent)
        if refusal is None:
            raise
        place = os.fsdecode(refusal.filename or path)
        elsewhere = Path(place).absolute() != Path(path).absolute() and ".partial" not in place
        raise ResourceError(
            f"{path}: cannot be written ({refusal.strerror or refusal}{f': {place}' if elsewhere else ''}); "
            f"{_REMEDIES.get(refusal.errno or 0, 'write to another folder')}"
        ) from error


_REMEDIES = {
    errno.ENOSPC: "free space there, or write to another disk",
    errno.EDQUOT: "free space there, or write to another disk",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "a part of its path is a file; choose another folder",
    errno.EEXIST: "a file of that name is in the way; choose another name",
    errno.EISDIR: "a folder of that name is in the way; choose another name",
}


def _refusal(error: BaseException, folder: Path) -> OSError | None:
    """The system's error behind an error, or None where it has another cause."""
    for found in (error, error.__cause__):
        if isinstance(found, OSError):
            return found
    if told := _OS_ERROR.search(str(error)):
        return OSError(int(told[1]), os.strerror(int(told[1])))
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as refusal:
        return refusal
    return None


def make_folder(path: Path) -> None:
    """Make a folder with its parents where it is missing; see `atomic_path` for what is removed from it.

    Raises:
        ResourceError: the system refuses.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
        place = path.resolve()
        if place not in _swept:
            _swept.add(place)
            remove_leftovers(path)


def require_room(folder: Path, needed: int, what: str) -> None:
    """Refuse work whose files will not fit, before it begins.

    Args:
        folder: where they go; it exists.
        needed: bytes.
        what: the files, in the error's words.

    Raises:
        ResourceError: the disk has less room.
    """
    with suppress(OSError):
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise ResourceError(
                f"{folder}: {what} need {needed / 1e6:.0f} MB, and the disk has {free / 1e6:.0f} MB free; free some, "
                "or write to another disk"
            )


def require_place(path: str | os.PathLike[str]) -> None:
    """Refuse a name that no file can get, before the work whose outcome it is to hold; nothing is made.

    Raises:
        ResourceError: a folder has that name, a part of the path is a file, or its folder cannot be written.
    """
    target = Path(path).absolute()
    with writing(path):
        folder = next(parent for parent in target.parents if parent.exists())
        writable = os.access(folder, os.W_OK | os.X_OK)
        faults = {errno.EISDIR: target.is_dir(), errno.ENOTDIR: not folder.is_dir(), errno.EACCES: not writable}
        for number in (number for number, is_there in faults.items() if is_there):
            raise OSError(number, os.strerror(number))


def partial_prefix(target: Path) -> str:
    """How the name of a temporary file or folder for `target` begins; it says which process writes it."""
    # Names have at most 255 bytes, and the target's may have them all.
    beginning = os.fsdecode(os.fsencode(target.name)[:_KEPT_BYTES])
    return f".{beginning}.{os.getpid()}-{_HOST}-"


def remove_leftovers(folder: Path) -> None:
    """Remove the `.partial` files and folders in `folder` whose writers are dead."""
    for path in folder.glob(".*.partial*"):
        with suppress(OSError):  # gone meanwhile, or not ours to remove
            if not _is_abandoned(path):
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _is_abandoned(path: Path) -> bool:
    owner = _OWNER.search(path.name)
    if owner is None or owner[2] != _HOST or sys.platform == "win32":  # nobody can be asked
        return time.time() - path.stat().st_mtime > _ABANDONED_SECONDS
    if int(owner[1]) == os.getpid():  # a container's processes have the same numbers each time
        return path.name not in _in_progress
    try:
        os.kill(int(owner[1]), 0)  # an ended process answers too, in state Z, until its parent asks how it ended
        return Path(f"/proc/{owner[1]}/stat").read_bytes().rpartition(b") ")[2][:1] == b"Z"
    except OSError as error:  # no such process; otherwise another user's, or a system without /proc
        return isinstance(error, ProcessLookupError)


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
        ResourceError: its file cannot be made.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with writing(path):
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
    write_text(path, yaml.dump(value, Dumper=PlainDumper, sort_keys=False, allow_unicode=True))


def read_text(path: str | os.PathLike[str], limit: int = SETTINGS_BYTES) -> str:
    """The file's text, without a byte order mark. A pipe will do (`<(…)`, /dev/stdin).

    Args:
        path: the file.
        limit: bytes that it may have at most.

    Raises:
        UsageError: the file does not exist, cannot be read, is longer, or is not UTF-8.
    """
    try:
        # A FIFO without a writer would hang; one that has been opened waits for what its writer has to say.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as stream:
            os.set_blocking(handle, True)
            data = stream.read(limit + 1)
        if len(data) > limit:
            raise UsageError(f"{path}: holds more than {limit / 1e6:.0f} MB, the most that is read of such a file")
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a null character in a path
        raise UsageError(f"{path}: cannot be read as text ({error})") from None


def read_json(path: str | os.PathLike[str]) -> Any:
    """The parsed JSON file; it may be as large as this machine's memory can hold when parsed.

    Raises:
        UsageError: the file is missing, too large, or is not JSON.
    """
    return parse_json(read_text(path, json_limit()), path)


def json_limit() -> int:
    """Bytes that a JSON file may have at most, so that what is parsed fits into memory."""
    return max(SETTINGS_BYTES, (available_memory() or 2**33) // _BYTES_PER_JSON_BYTE)


def parse_json(text: str | bytes, source: object, error: type[EffisegError] = UsageError) -> Any:
    """Parsed JSON.

    Args:
        text: the JSON.
        source: the file, for the error's text.
        error: what to raise.

    Raises:
        EffisegError: of the kind `error`: no JSON, nested too deeply, a number of thousands of digits, NaN or
            Infinity, or half a character (a lone surrogate).
    """

    def refuse(name: str) -> None:
        raise ValueError(f"JSON has no {name}")

    try:
        if isinstance(text, bytes):
            text = text.decode(json.detect_encoding(text))
        value = json.loads(text, parse_constant=refuse)
        if re.search(r"\\u[dD][89a-fA-F]", text):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as fault:
        raise error(f"{source}: not valid JSON, line {fault.lineno}: {fault.msg}") from None
    except RecursionError:
        raise error(f"{source}: not valid JSON: nested too deeply") from None
    except ValueError as fault:
        raise error(f"{source}: not valid JSON: {fault}") from None
    return value


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The parsed YAML file, which must be a mapping; only plain data is constructed.

    Raises:
        UsageError: the file is missing, too large, is not YAML, or its top level is not a mapping.
    """
    value = parse_yaml(read_text(path), path)
    if not isinstance(value, dict):
        raise UsageError(f"{path}: must hold 'key: value' lines, found {type(value).__name__}")
    return value


def parse_yaml(text: str, source: object) -> Any:
    """Parsed YAML: texts (dates among them), numbers, truth values, nothing, lists and mappings.

    Args:
        text: the YAML.
        source: the file or option, for the error's text.

    Raises:
        UsageError: no YAML, nested too deeply, a number of hundreds of digits, half a character, or aliases that
            hold themselves or grow to more than is reasonable.
    """
    try:
        loader = PlainLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        refuse_hidden_growth(node)
        value = loader.construct_document(node)
        if re.search(r"\\[uU]0*[dD][89a-fA-F]", text):
            # Those that stand for bytes of a file's name that are no UTF-8 are what was written.
            json.dumps(value, ensure_ascii=False, default=str).encode(errors="surrogateescape")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise UsageError(f"{source}: not valid YAML{where}: {getattr(error, 'problem', error)}") from None
    except RecursionError:
        raise UsageError(f"{source}: not valid YAML: nested too deeply") from None
    except (ValueError, LookupError, TypeError, OverflowError) as error:  # what a tag asks for cannot be made
        raise UsageError(f"{source}: not valid YAML: {error}") from None
    return value
