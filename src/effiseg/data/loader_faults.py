"""Loader workers that died: what torch says of it, as one line with what to do."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from effiseg.errors import ResourceError

_WORKER_DIED = re.compile(r"DataLoader worker \(pid.*?\) (?:is killed by signal: ([\w ]+)|exited unexpectedly)")
_SHARED_MEMORY = re.compile(r"allocate shared memory|insufficient shared memory|torch_\w+>: No space left")


def is_loaders(text: str) -> bool:
    """Whether an error's "type: message" says that a loader worker died or found no memory."""
    return bool(_WORKER_DIED.search(text) or _SHARED_MEMORY.search(text))


def loader_advice(text: str, workers: int) -> str:
    """The cause and the remedy of an error in a loader worker.

    Args:
        text: its "type: message".
        workers: how many there were.
    """
    died = _WORKER_DIED.search(text)
    signal = (died[1] or "").strip() if died else ""
    fewer = f"take fewer --workers (now {workers}; 0 loads in the main process)"
    if _SHARED_MEMORY.search(text) or signal == "Bus error":
        return f"a loader worker found no room in shared memory ({_free_shared_memory()}); enlarge it or {fewer}"
    if signal not in ("", "Killed"):
        return f"a loader worker died ({signal}); --workers 0 shows where"
    how = "was killed, most likely because memory ran out" if died else "ran out of memory"
    return f"a loader worker {how}; {fewer}"


@contextmanager
def answered(workers: int) -> Iterator[None]:
    """Make one line of the death of a loader worker.

    Raises:
        ResourceError: the line; the error behind it is its cause.
    """
    try:
        yield
    except (RuntimeError, OSError) as error:
        text = f"{type(error).__name__}: {error}"
        if not is_loaders(text):
            raise
        raise ResourceError(loader_advice(text, workers)) from error


def _free_shared_memory() -> str:
    try:
        usage = shutil.disk_usage("/dev/shm")
    except OSError:
        return "/dev/shm"
    return f"/dev/shm: {usage.free / 2**20:.0f} of {usage.total / 2**20:.0f} MiB free; docker run --shm-size sets it"
