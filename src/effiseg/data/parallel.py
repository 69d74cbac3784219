"""One function over many files, in several processes."""

from __future__ import annotations

import multiprocessing
import multiprocessing.process
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from effiseg.environment import available_cores
from effiseg.errors import ResourceError
from effiseg.progress import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")

_CHUNK = 16
"""Items a process takes at a time: handing over costs little beside decoding them, and progress still moves."""
_HELD_BACK = (signal.SIGINT, signal.SIGTERM)
_WORTHWHILE = 4
"""So few times what a process takes at a time are sooner done here than processes are started."""


def map_in_processes(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    progress: Progress | None = None,
    processes: int | None = None,
    chunk: int = _CHUNK,
) -> Iterator[Result]:
    """`function` of every item, in the items' order; memory does not grow with their number.

    Args:
        function: of a module's top level, or a `functools.partial` of one: it is handed to processes.
        items: what it is given.
        progress: called after every item.
        processes: how many work at a time; None: one a core. One, or few items: this process does the work.
        chunk: items that a process takes at a time; 1 where each is much work, of which a few are worth processes.

    Raises:
        ResourceError: a process died, as the system ends one that takes too much memory.
        Exception: the first that `function` raises, in the items' order.
    """
    processes = min(processes or available_cores(), max(1, len(items) // chunk))
    few = len(items) < (_WORTHWHILE * chunk if chunk > 1 else 2)
    if processes == 1 or few or multiprocessing.current_process().daemon:
        results: Iterator[Result] = map(function, items)
    else:
        results = _from_processes(function, items, processes, chunk)
    for done, result in enumerate(results, start=1):
        if progress is not None:
            progress(done, len(items))
        yield result


def _from_processes(
    function: Callable[[Item], Result], items: Sequence[Item], processes: int, chunk: int
) -> Iterator[Result]:
    pool = ProcessPoolExecutor(processes, initializer=_start)
    waiting: deque[Future[list[Result]]] = deque()
    try:
        for start in range(0, len(items), chunk):
            with _signals_held_back():
                waiting.append(pool.submit(_apply, function, items[start : start + chunk]))
            if len(waiting) > 4 * processes:  # bounds what is queued when there are 100 000 items
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool:
        raise ResourceError(
            "a process that read files was ended by the system, perhaps for want of memory; "
            "free some, or run it on fewer cores (taskset -c 0 …)"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM act afterwards: an executor that is cut off while it starts processes never ends them.

    They are blocked too, until `_start` has made a process mortal: one that swallowed the SIGTERM with which the
    executor ends it when another has died would be waited for without end.
    """
    in_main = threading.current_thread() is threading.main_thread()  # where alone handlers run
    received: list[int] = []
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in _HELD_BACK if in_main}
    for number in before:
        signal.signal(number, lambda number, _: received.append(number))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK) if hasattr(signal, "pthread_sigmask") else None
    try:
        yield
    finally:
        if blocked is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, handler in before.items():
            signal.signal(number, handler)
        for each in received:
            signal.raise_signal(each)


def _apply(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


def _start() -> None:
    """Prepare a process: one thread, deaf to Ctrl-C, which its parent handles, and gone when its parent is."""
    import cv2

    cv2.setNumThreads(0)  # as in loader workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    """A killed parent cannot tell its processes to end, and they would wait for work for ever."""
    parent.join()
    os._exit(1)
