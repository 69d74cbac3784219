"""Work done ahead of its use, in threads, with a bounded number of items under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def submitted_ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[tuple[Item, Future[Result]]]:
    """Items in their order with the futures of `function` of them, of which `ahead` are under way.

    Args:
        pool: the threads.
        function: of one item.
        items: may be endless, or made while the threads work.
        ahead: at least 1; memory holds so many results and no more.
    """
    rest = iter(items)
    waiting = deque((item, pool.submit(function, item)) for item in islice(rest, ahead))
    while waiting:
        yield waiting.popleft()
        waiting.extend((item, pool.submit(function, item)) for item in islice(rest, 1))


@contextmanager
def threads_ahead(threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads that begins nothing new once its block is left; what runs is awaited."""
    with ThreadPoolExecutor(threads) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
