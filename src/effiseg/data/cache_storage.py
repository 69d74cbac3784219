"""Where cached inputs lie, how much may lie there, and who takes them away.

On disk they stay for later runs. In memory (/dev/shm) they belong to one run: its folder is locked as long as the
run or a worker of it lives, so the next start can tell a dead run's folder and remove it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from effiseg.environment import available_memory
from effiseg.errors import UsageError

GIB = 2**30
SHARED_MEMORY = Path("/dev/shm")
_PREFIX = "effiseg-"
_owned: dict[Path, tuple[int, int]] = {}
"""Folders in memory made here → (process that made it, descriptor that locks it)."""


@dataclass(frozen=True)
class CacheStorage:
    """A folder for cached inputs and the rule that bounds it."""

    kind: Literal["disk", "ram"]
    """disk: kept; ram: removed with the run."""
    folder: Path
    """An existing folder."""

    def room(self) -> int:
        """Bytes that may still be written there; not positive when the bound is reached.

        disk: the larger of 2 GiB and 5 % of the file system stays free. ram: files in memory stay at most as large
        as what else is available, so they take no more than half of it; 1 GiB or 10 % of /dev/shm stays free for
        the batches that workers hand over.
        """
        usage = shutil.disk_usage(self.folder)
        match self.kind:
            case "disk":
                return usage.free - max(2 * GIB, usage.total // 20)
            case "ram":
                free = usage.free - max(GIB, usage.total // 10)
                return min(free, (available_memory() - usage.used) // 2)

    @property
    def bound(self) -> str:
        """The rule in words."""
        match self.kind:
            case "disk":
                return f"2 GiB and 5 % of the disk of {self.folder} stay free"
            case "ram":
                return "half of the available memory stays free"

    def close(self) -> None:
        """Remove what belongs to this run alone, if this process made it."""
        if self.kind == "ram":
            _remove(self.folder)


def cache_root() -> Path:
    """The absolute folder of everything that is kept for later runs: $EFFISEG_CACHE, else ~/.cache/effiseg.

    $XDG_CACHE_HOME counts. Nothing is made.
    """
    own, general = os.environ.get("EFFISEG_CACHE"), os.environ.get("XDG_CACHE_HOME")
    root = Path(own).expanduser() if own else Path(general or "~/.cache").expanduser() / "effiseg"
    return root.absolute()


def open_disk_storage() -> CacheStorage:
    """The folder for cached inputs on disk, in `cache_root`.

    Raises:
        UsageError: it cannot be made or written.
    """
    folder = cache_root() / "inputs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"--cache disk: {folder} cannot be made ({error.strerror}); set EFFISEG_CACHE to a folder of yours"
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"--cache disk: {folder} cannot be written; set EFFISEG_CACHE to a folder of yours")
    return CacheStorage("disk", folder)


def open_ram_storage() -> CacheStorage:
    """A new folder in /dev/shm that is removed by `close`, or when the process ends; those of dead runs go first.

    Raises:
        UsageError: the system has no /dev/shm that can be written.
    """
    if not (SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK | os.X_OK)):
        raise UsageError(f"--cache ram keeps files in {SHARED_MEMORY}, which this system lacks; take --cache disk")
    import fcntl  # a system without it has no /dev/shm either

    for folder in SHARED_MEMORY.glob(f"{_PREFIX}*"):
        if folder not in _owned:
            _remove_if_unlocked(folder)
    # It gets its name when it is locked: until then no other start may take it for a dead run's.
    unlocked = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=SHARED_MEMORY))
    descriptor = os.open(unlocked, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    folder = unlocked.rename(unlocked.with_name(unlocked.name.removeprefix(".")))
    _owned[folder] = os.getpid(), descriptor
    return CacheStorage("ram", folder)


def _remove_if_unlocked(folder: Path) -> None:
    import fcntl

    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # another user's, or gone meanwhile
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # its run is alive
        pass
    finally:
        os.close(descriptor)


@atexit.register
def remove_ram_storage() -> None:
    """Remove every folder in memory that this process made; for exits that skip `atexit`."""
    for folder in list(_owned):
        _remove(folder)


def _remove(folder: Path) -> None:
    process, descriptor = _owned.get(folder, (None, -1))
    if process != os.getpid():  # a worker, forked with this table
        return
    del _owned[folder]
    # Renamed first, so that a worker that still writes finds no folder to write to.
    with contextlib.suppress(OSError):  # somebody removed it already
        shutil.rmtree(folder.rename(folder.with_name(f".{folder.name}")), ignore_errors=True)
    os.close(descriptor)
