"""Opening files of a data set: regular ones only, because a FIFO hangs its reader and a device never ends."""

from __future__ import annotations

import io
import os
import stat
from abc import abstractmethod
from pathlib import Path
from typing import BinaryIO

from effiseg.errors import DataError

AnyPath = str | os.PathLike[str]
"""A file, or an `EmbeddedFile`."""


class EmbeddedFile(os.PathLike[str]):
    """A file inside another one; as text it is the other's path, a slash and its name, which no program can open."""

    @abstractmethod
    def read(self) -> bytes:
        """Its bytes.

        Raises:
            DataError: they cannot be had.
        """

    @property
    @abstractmethod
    def container(self) -> Path:
        """The file on this machine that it lies in; it may not be there yet."""

    @property
    @abstractmethod
    def extent(self) -> tuple[int, int]:
        """Where it begins in its container, and how many bytes it has."""


DataFile = Path | EmbeddedFile
"""A file of a data set."""


def file_of(path: AnyPath) -> Path:
    """The file on this machine that holds `path`."""
    return path.container if isinstance(path, EmbeddedFile) else Path(path)


def absolute_name(path: AnyPath) -> str:
    """A name that no other file of this machine has."""
    return str(path) if isinstance(path, EmbeddedFile) else os.path.abspath(path)  # noqa: PTH100 - links stay


def _kind_of_file(mode: int) -> str:
    """The kind of a file that is no regular one, from its `st_mode`."""
    match stat.S_IFMT(mode):
        case stat.S_IFDIR:
            return "a folder"
        case stat.S_IFIFO:
            return "a FIFO"
        case stat.S_IFSOCK:
            return "a socket"
        case stat.S_IFCHR | stat.S_IFBLK:
            return "a device"
        case _:
            return "something else"


def refuse_irregular(path: AnyPath, kind: str) -> None:
    """Raise where a file is missing or no regular one; arguments and errors as `open_regular`."""
    if isinstance(path, EmbeddedFile):
        return  # told when it is read
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - 100 000 of them
    except FileNotFoundError:
        raise DataError(f"{path}: {kind} cannot be read (no such file)") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in a path
        raise DataError(f"{path}: {kind} cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not stat.S_ISREG(mode):
        raise DataError(f"{path}: {kind} must be a regular file; found {_kind_of_file(mode)}; remove or replace it")


def open_regular(path: AnyPath, kind: str) -> BinaryIO:
    """A file, open for reading its bytes; links are followed.

    Args:
        path: the file.
        kind: what it should be, for the error: image, mask, list, …

    Raises:
        DataError: it cannot be opened, or is a folder, FIFO, device or socket.
    """
    if isinstance(path, EmbeddedFile):
        return io.BytesIO(path.read())
    refuse_irregular(path, kind)  # before opening, which may act on a device
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        stream = os.fdopen(handle, "rb")
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return stream
        stream.close()  # it was replaced meanwhile
    except OSError as error:
        raise DataError(f"{path}: {kind} cannot be read ({error.strerror or error})") from None
    raise DataError(f"{path}: {kind} must be a regular file; found another; remove or replace it")


def read_data_text(path: AnyPath, kind: str) -> str:
    """The text of a regular file, without a byte order mark; bytes that are no UTF-8 stay, as in names of files.

    Raises:
        DataError: as `open_regular`.
    """
    with open_regular(path, kind) as stream:
        try:
            data = stream.read()
        except OSError as error:
            raise DataError(f"{path}: {kind} cannot be read ({error.strerror or error})") from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    return data.decode("utf-8-sig", errors="surrogateescape")
