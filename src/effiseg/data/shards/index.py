"""The index of a shard: which members it has and where they lie, so that any of them is one read away.

It lies beside a shard that `effiseg data shard` wrote; for a shard of other software it is made when that is first
used, from the tar file's headers alone, and kept in `cache_root()/shards`.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from effiseg.data.cache_storage import cache_root
from effiseg.data.regular_file import open_regular
from effiseg.data.shards.remote import is_remote, local_copy, shown
from effiseg.errors import DataError, EffisegError, ResourceError
from effiseg.files import read_json, write_json

FORMAT = 1
INDEX_SUFFIX = ".index.json"
_REMEDY = "remove it to make it anew"
_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)
"""WebDataset's rule: a key is a name up to the first dot behind its last slash."""
Places = npt.NDArray[np.int64]
"""(N, 2) offset and size of one member of every sample; 0, 0 where a sample has none."""


@dataclass(frozen=True)
class ShardIndex:
    """Facts of one shard."""

    bytes: int
    """Size of the tar file."""
    keys: tuple[str, ...]
    """The samples' keys in their order."""
    members: dict[str, Places]
    """What follows the key in members' names, in small letters, without the first dot → where they lie."""
    digest: str | None = None
    """BLAKE2b of the tar file, where it was taken when that was written."""
    class_pixels: dict[str, int] | None = None
    """Class → pixels in the shard's masks, where it was written with masks."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "format": FORMAT,
            "bytes": self.bytes,
            "digest": self.digest,
            "samples": len(self.keys),
            "class_pixels": self.class_pixels,
            "keys": list(self.keys),
            "members": {
                name: {"offset": places[:, 0].tolist(), "size": places[:, 1].tolist()}
                for name, places in self.members.items()
            },
        }

    @classmethod
    def from_dict(cls, values: Any, source: object) -> ShardIndex:
        """What `to_dict` gave.

        Raises:
            DataError: it is no such index, or of another format.
        """
        try:
            if values["format"] != FORMAT:
                raise DataError(f"{source}: index format {values['format']!r} is not {FORMAT}; {_REMEDY}")
            keys = tuple(map(str, values["keys"]))
            members = {
                str(name): np.array([columns["offset"], columns["size"]], np.int64).T
                for name, columns in values["members"].items()
            }
            size, digest, pixels = int(values["bytes"]), values["digest"], values["class_pixels"]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise DataError(f"{source}: is no index of a shard; {_REMEDY}") from None
        for places in members.values():
            if len(places) != len(keys) or (places < 0).any() or (places.sum(axis=1) > size).any():
                raise DataError(f"{source}: names places outside its shard; {_REMEDY}")
        return cls(size, keys, members, digest, pixels)


def load_index(shard: str) -> ShardIndex:
    """The index of a shard, made now where there is none.

    Args:
        shard: path or address of a tar file.

    Raises:
        DataError: the shard or its index cannot be read, they do not belong together, or the shard is no plain tar.
    """
    if is_remote(shard):
        with suppress(DataError):  # none beside it
            beside = local_copy(_beside(shard))
            return ShardIndex.from_dict(_parsed(beside), shown(shard))
    path = local_copy(shard)
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(f"{path}: shard cannot be read ({error.strerror or error})") from None
    beside = Path(_beside(str(path)))
    if beside.is_file():
        index = ShardIndex.from_dict(_parsed(beside), beside)
        if index.bytes != state.st_size:
            raise DataError(
                f"{path}: must have the {index.bytes} bytes that {beside.name} says; found {state.st_size}; bring it "
                "back, or remove the index if the shard was meant to change"
            )
        return index
    name = hashlib.blake2b(f"{os.path.abspath(path)}\0{state.st_size}\0{state.st_mtime_ns}".encode(), digest_size=16)  # noqa: PTH100
    kept = cache_root() / "shards" / "indices" / f"{name.hexdigest()}.json"
    with suppress(EffisegError):  # none there, or damaged
        return ShardIndex.from_dict(_parsed(kept), kept)
    with open_regular(path, "shard") as stream:
        index = index_tar(stream, shown(shard))
    with suppress(ResourceError):  # no place for it: the next run makes it again
        write_json(kept, index.to_dict())
    return index


def index_tar(stream: BinaryIO, source: object, **known: Any) -> ShardIndex:
    """The index of an open tar file; members' bytes are passed over.

    Args:
        stream: it, at its beginning.
        source: its name, for errors.
        known: other fields of the index.

    Raises:
        DataError: it is compressed, damaged or no tar file, or members of one key lie apart.
    """
    keys: list[str] = []
    members: dict[str, dict[int, tuple[int, int]]] = {}
    seen: set[str] = set()
    try:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                tar.members.clear()  # type: ignore[attr-defined]  # else all of them are kept
                found = _NAME.fullmatch(member.name)
                if not member.isreg() or member.sparse is not None or found is None:
                    continue
                key, suffix = found[1], found[2].lower()
                if not keys or keys[-1] != key:
                    if key in seen:
                        raise DataError(f"{source}: members of a sample lie together; found {key!r} in two places")
                    seen.add(key)
                    keys.append(key)
                members.setdefault(suffix, {})[len(keys) - 1] = member.offset_data, member.size
        stream.seek(0, os.SEEK_END)
        size = stream.tell()
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise DataError(f"{source}: a shard is an uncompressed tar file; it cannot be read as one ({error})") from None
    columns: dict[str, Places] = {}
    for suffix, places in members.items():
        columns[suffix] = np.zeros((len(keys), 2), np.int64)
        columns[suffix][list(places)] = list(places.values())
        if (columns[suffix].sum(axis=1) > size).any():
            raise DataError(f"{source}: is cut off; found {size} bytes, which is less than its members need")
    return ShardIndex(size, tuple(keys), columns, **known)


def _beside(shard: str) -> str:
    path, mark, query = shard.partition("?")
    return f"{path.removesuffix('.tar')}{INDEX_SUFFIX}{mark}{query}"


def _parsed(path: Path) -> Any:
    return read_json(path)
