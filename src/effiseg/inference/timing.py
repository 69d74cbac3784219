"""How long calls take, side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def interleaved_medians(
    calls: Mapping[str, Callable[[], object]], repeats: int = 20, warmup: int = 3
) -> dict[str, float]:
    """Median duration of each call, milliseconds.

    The calls take turns, so that whatever else the machine does meets all of them alike.

    Args:
        calls: name → what to time; each waits for its own end.
        repeats: timed rounds.
        warmup: rounds before them.
    """
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(warmup + repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            samples[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(times[warmup:]) for name, times in samples.items()}
