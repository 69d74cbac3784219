"""The order in which samples are shown: of a list at random, of shards at random within a window of them.

Both are functions of numbers alone (a run's seed and an epoch), so any place of any epoch can be asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]
_WINDOW_KEY = 5
"""Spawn key of the streams within windows, which keeps them apart from those of whole orders."""


class SampleOrder(Protocol):
    """A permutation of samples for every epoch."""

    def part(self, words: tuple[int, ...], spawn_key: tuple[int, ...], start: int, stop: int) -> Indices:
        """The samples at the places `start` to `stop` of a permutation.

        Args:
            words: what it is drawn from, as (seed, epoch).
            spawn_key: what keeps it apart from other permutations of the same words.
            start: the first place.
            stop: the place behind the last one; at most the number of samples.
        """
        ...


@dataclass(frozen=True)
class UniformOrder:
    """Every permutation of all samples is equally likely."""

    count: int
    """How many samples there are."""

    def part(self, words: tuple[int, ...], spawn_key: tuple[int, ...], start: int, stop: int) -> Indices:
        """See `SampleOrder`."""
        return _permutation(self.count, words, spawn_key)[start:stop]


@dataclass(frozen=True)
class WindowedOrder:
    """Shards are permuted, and cut into windows of a few; the samples of a window are permuted among themselves.

    So only a window's shards are read at a time, however many there are.
    """

    sizes: tuple[int, ...]
    """Samples of each shard, which follow each other."""
    window: int
    """Shards of a window."""

    def part(self, words: tuple[int, ...], spawn_key: tuple[int, ...], start: int, stop: int) -> Indices:
        """See `SampleOrder`."""
        shards, ends = _windows(self.sizes, self.window, words, spawn_key)
        parts = []
        for number in range(int(np.searchsorted(ends, start, "right")), len(ends)):
            begin = int(ends[number - 1]) if number else 0
            if begin >= stop:
                break
            members = shards[number * self.window : (number + 1) * self.window]
            inside = _window(self.sizes, tuple(members.tolist()), words, spawn_key, number)
            parts.append(inside[max(0, start - begin) : stop - begin])
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def order_of(samples: Sequence[object], window: int) -> SampleOrder:
    """The order of samples: by windows where they lie in shards.

    Args:
        samples: of a split, or unlabeled ones.
        window: shards of a window.
    """
    sizes: tuple[int, ...] | None = getattr(samples, "sizes", None)
    return UniformOrder(len(samples)) if sizes is None else WindowedOrder(sizes, window)


def _generator(words: tuple[int, ...], spawn_key: tuple[int, ...]) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words, spawn_key=spawn_key)))


@lru_cache(maxsize=4)
def _permutation(count: int, words: tuple[int, ...], spawn_key: tuple[int, ...]) -> Indices:
    return _generator(words, spawn_key).permutation(count)


@lru_cache(maxsize=4)
def _windows(
    sizes: tuple[int, ...], window: int, words: tuple[int, ...], spawn_key: tuple[int, ...]
) -> tuple[Indices, Indices]:
    """The shards in their order, and how many samples there are up to the end of each window."""
    shards = _permutation(len(sizes), words, spawn_key)
    ends = np.cumsum(np.array(sizes, np.int64)[shards])
    last = np.minimum(np.arange(window, len(sizes) + window, window), len(sizes)) - 1
    return shards, ends[last]


@lru_cache(maxsize=4)
def _window(
    sizes: tuple[int, ...], members: tuple[int, ...], words: tuple[int, ...], spawn_key: tuple[int, ...], number: int
) -> Indices:
    """The samples of one window in their order."""
    starts = np.concatenate([[0], np.cumsum(sizes)])
    inside = np.concatenate([np.arange(starts[shard], starts[shard + 1]) for shard in members])
    return _generator(words, (*spawn_key, _WINDOW_KEY, number)).permutation(inside)
