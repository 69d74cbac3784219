"""A file inside a shard."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from effiseg.data.regular_file import EmbeddedFile, open_regular
from effiseg.data.shards.remote import local_copy, local_place, shown
from effiseg.errors import DataError

_OPEN_FILES = 64
"""Shards that a process keeps open: more than a window of them has, fewer than a system allows."""


@dataclass(frozen=True)
class ShardMember(EmbeddedFile):
    """A member of a tar file, found by its place in it."""

    shard: str
    """The tar file's path or address."""
    name: str
    """The member's name."""
    offset: int
    """Where its bytes begin."""
    size: int
    """How many there are."""

    def __str__(self) -> str:
        return f"{shown(self.shard)}/{self.name}"

    def __fspath__(self) -> str:
        return str(self)

    @property
    def container(self) -> Path:
        """See `EmbeddedFile`."""
        return local_place(self.shard)

    @property
    def extent(self) -> tuple[int, int]:
        """See `EmbeddedFile`."""
        return self.offset, self.size

    def read(self) -> bytes:
        """Its bytes; safe to call from several threads.

        Raises:
            DataError: the shard cannot be read, or is shorter than its index says.
        """
        stream = _opened(self.shard)
        try:
            if hasattr(os, "pread"):
                data = os.pread(stream.fileno(), self.size, self.offset)
            else:  # Windows
                with open_regular(self.container, "shard") as own:
                    own.seek(self.offset)
                    data = own.read(self.size)
        except OSError as error:
            raise DataError(f"{self}: shard cannot be read ({error.strerror or error})") from None
        if len(data) != self.size:
            raise DataError(f"{self}: must have {self.size} bytes at {self.offset}; the shard ends before; replace it")
        return data


@lru_cache(maxsize=_OPEN_FILES)
def _opened(shard: str) -> BinaryIO:
    """A shard, open; closed when it is no longer among the last that were read and nobody reads it."""
    return open_regular(local_copy(shard), "shard")
