"""Reading, computing and writing at the same time, with a bounded number of images under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TypeVar

from effiseg.errors import DataError
from effiseg.inference.predictor import Predictor, Prepared
from effiseg.inference.segmentation import Segmentation
from effiseg.lookahead import submitted_ahead, threads_ahead

Item = TypeVar("Item")


def run_pipeline(
    predictor: Predictor,
    items: Iterable[Item],
    read: Callable[[Item], Prepared | None],
    write: Callable[[Item, Segmentation], None],
    *,
    failed: Callable[[Item, DataError], None],
    done: Callable[[], None],
    threads: int = 2,
) -> None:
    """Read items in threads, label them here, and write them in threads.

    At most `threads` + a pass's images are decoded ahead, and 2·`threads` wait to be written: memory does not grow with
    the number of items. Whatever ends it (an error, Ctrl-C), what is being written is written to its end.

    Args:
        predictor: what labels them.
        items: what to read, in order; may be endless.
        read: called in a thread. None ends everything.
        write: called in a thread.
        failed: called here for an item that could not be read.
        done: called here after every image that was handed to `write`, or failed.
        threads: for reading, and as many for writing. 1 keeps the order, as frames of a video need it.

    Raises:
        Whatever `write` raises.
    """
    images = predictor.images_per_pass
    with threads_ahead(threads) as readers, threads_ahead(threads) as writers:
        writing: deque[Future[None]] = deque()

        def label(part: list[tuple[Item, Prepared]]) -> None:
            answers = predictor.segment([prepared for _, prepared in part])
            for (item, _), segmentation in zip(part, answers, strict=True):
                writing.append(writers.submit(write, item, segmentation))
                if len(writing) > 2 * threads:
                    writing.popleft().result()
                done()

        part: list[tuple[Item, Prepared]] = []
        for item, reading in submitted_ahead(readers, read, items, threads + images):
            try:
                prepared = reading.result()
            except DataError as error:
                failed(item, error)
                done()
                continue
            if prepared is None:
                break
            part.append((item, prepared))
            if len(part) == images:
                label(part)
                part = []
        label(part)
        while writing:
            writing.popleft().result()
