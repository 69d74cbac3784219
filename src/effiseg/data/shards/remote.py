"""Shards on other machines: copied whole into the cache of this one, when they are first read."""

from __future__ import annotations

import contextlib
import hashlib
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from effiseg.data.cache_storage import cache_root
from effiseg.errors import DataError, EffisegError
from effiseg.files import LockedError, atomic_path, exclusive_lock, make_folder, require_room

_PROTOCOLS = ("http", "https", "s3")
_WAIT_SECONDS = 0.5


def is_remote(address: str) -> bool:
    """Whether an address is a URL.

    Raises:
        DataError: it is one of a kind that is not read, as `pipe:`, which would run a shell.
    """
    protocol, found, _ = address.partition(":")
    if not found or "/" in protocol or len(protocol) == 1:  # a drive's letter
        return False
    if protocol in _PROTOCOLS and address.startswith(f"{protocol}://"):
        return True
    if protocol == "pipe" or "://" in address:
        raise DataError(
            f"{shown(address)}: shards are files, or addresses that begin with "
            f"{', '.join(f'{known}://' for known in _PROTOCOLS)}; found {protocol}:"
            + (", which would run a command and is not read" if protocol == "pipe" else "")
        )
    return False


def shown(address: str) -> str:
    """An address for people: without the password and the signature that a URL may hold."""
    if "://" not in address:
        return address
    protocol, _, rest = address.partition("://")
    place, slash, path = rest.partition("?")[0].partition("/")
    return f"{protocol}://{place.rpartition('@')[2]}{slash}{path}"


def local_place(address: str) -> Path:
    """The file of an address on this machine, where it is or will be copied to."""
    if not is_remote(address):
        return Path(address)
    name = shown(address)
    digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
    return cache_root() / "shards" / digest / name.rpartition("/")[2]


def local_copy(address: str) -> Path:
    """The file of an address, copied now if it was not. A copy appears when it is whole.

    Raises:
        DataError: it is not there, or cannot be had.
        ResourceError: the disk has no room for it.
    """
    place = local_place(address)
    if not is_remote(address) or place.is_file():
        return place
    make_folder(place.parent)
    while True:
        try:
            with exclusive_lock(place.with_name(f"{place.name}.lock")):
                if not place.is_file():
                    _copy(address, place)
                return place
        except LockedError:  # another process copies it
            time.sleep(_WAIT_SECONDS)


def list_remote(pattern: str) -> list[str]:
    """The addresses that match a glob in a bucket, sorted.

    Raises:
        DataError: the bucket cannot be listed.
    """
    protocol = pattern.partition("://")[0]
    with _told(pattern):
        system = _file_system(protocol)
        return sorted(f"{protocol}://{path}" for path in system.glob(pattern))


def _copy(address: str, place: Path) -> None:
    with _told(address):
        system = _file_system(address.partition("://")[0])
        size = system.info(address).get("size")
        if size is not None:
            require_room(place.parent, int(size), "a copy of a remote shard")
        with atomic_path(place) as temporary:
            system.get_file(address, str(temporary))
            copied = temporary.stat().st_size
            if size is not None and copied != size:
                raise DataError(f"{shown(address)}: ended after {copied} of {size} bytes; try again")


def _file_system(protocol: str) -> Any:
    needed = {"s3": "s3fs"}.get(protocol, "aiohttp")
    if find_spec("fsspec") is None or find_spec(needed) is None:
        raise DataError(f"{protocol}:// addresses need the package {needed}: pip install 'effiseg[scale]'")
    import fsspec

    return fsspec.filesystem(protocol)


@contextlib.contextmanager
def _told(address: str) -> Any:
    """Make one line of whatever a library of remote files raises."""
    try:
        yield
    except EffisegError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()).replace(address, shown(address)) or type(error).__name__
        raise DataError(f"{shown(address)}: cannot be read ({reason[:300]})") from None
