"""Where outputs go: a folder of this machine or of a bucket. Every file appears under its name when it is whole."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from effiseg.errors import ResourceError, UsageError
from effiseg.files import atomic_path, write_bytes

_ADDRESS = re.compile(r"([a-z0-9]{2,}):/+(.*)", re.DOTALL)


class OutputPlace:
    """A folder, by path, `file://` or `s3://`; can be handed to other processes.

    Args:
        uri: the folder.

    Raises:
        UsageError: an address of another kind.
    """

    def __init__(self, uri: str) -> None:
        found = _ADDRESS.fullmatch(uri)  # of the two slashes a Path has kept one
        if found is not None and found[1] not in ("file", "s3"):
            raise UsageError(f"--out {uri}: must be a folder, file:// or s3://; found {found[1]}:")
        self.uri = uri
        self.folder: Path | None = None
        if found is None:
            self.folder = Path(uri).expanduser()
        elif found[1] == "file":
            self.folder = Path(f"/{found[2]}")
        else:
            self.uri = f"s3://{found[2]}".rstrip("/")

    def write(self, name: str, data: bytes) -> None:
        """Write a file.

        Raises:
            ResourceError: it cannot be written.
        """
        if self.folder is not None:
            write_bytes(self.folder / name, data)
            return
        with self._told(name):
            self._bucket().pipe_file(f"{self.uri}/{name}", data)

    def put(self, name: str, file: Path) -> None:
        """Write a file as a copy of another one.

        Raises:
            ResourceError: it cannot be written.
        """
        if self.folder is not None:
            with atomic_path(self.folder / name) as temporary:
                shutil.copyfile(file, temporary)
            return
        with self._told(name):
            self._bucket().put_file(str(file), f"{self.uri}/{name}")

    def read(self, name: str) -> bytes | None:
        """The content of a file; None where there is none."""
        try:
            if self.folder is not None:
                return (self.folder / name).read_bytes()
            with self._told(name):
                return bytes(self._bucket().cat_file(f"{self.uri}/{name}"))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, below: str = "") -> set[str]:
        """The names of what lies in a folder; empty where it is absent."""
        if self.folder is not None:
            folder = self.folder / below
            return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
        with self._told(below):
            bucket = self._bucket()
            bucket.invalidate_cache()
            try:
                found = bucket.ls(f"{self.uri}/{below}".rstrip("/"), detail=False)
            except FileNotFoundError:
                return set()
        return {str(path).rstrip("/").rpartition("/")[2] for path in found}

    def _bucket(self) -> Any:
        import fsspec

        return fsspec.filesystem("s3")

    @contextlib.contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Make one line of what a library says of a bucket."""
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise ResourceError(f"{self.uri}/{name}: cannot be reached ({reason})") from None
