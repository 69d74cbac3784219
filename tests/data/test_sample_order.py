"""Orders by windows of shards are permutations that depend on nothing but their words."""

from __future__ import annotations

import numpy as np
import pytest

from effiseg.data.sample_order import UniformOrder, WindowedOrder

SIZES = (5, 1, 7, 3, 4, 6)
TOTAL = sum(SIZES)
SHARD_OF = np.repeat(np.arange(len(SIZES)), SIZES)


@pytest.mark.parametrize("window", [1, 2, 4, 6, 100])
def test_every_sample_comes_once(window: int) -> None:
    order = WindowedOrder(SIZES, window)
    whole = order.part((3, 0), (), 0, TOTAL)
    assert sorted(whole.tolist()) == list(range(TOTAL))
    parts = [order.part((3, 0), (), start, min(start + 4, TOTAL)) for start in range(0, TOTAL, 4)]
    assert np.concatenate(parts).tolist() == whole.tolist()
    assert whole.tolist() != order.part((3, 1), (), 0, TOTAL).tolist()
    assert whole.tolist() != order.part((3, 0), (3,), 0, TOTAL).tolist()


@pytest.mark.parametrize("window", [1, 2, 4])
def test_a_window_reads_few_shards(window: int) -> None:
    shards = SHARD_OF[WindowedOrder(SIZES, window).part((0, 5), (), 0, TOTAL)]
    place = 0
    while place < TOTAL:
        group = set(shards[place:].tolist()[:1])
        end = place
        while end < TOTAL and len(group | {int(shards[end])}) <= window:
            group.add(int(shards[end]))
            end += 1
        assert not group & set(shards[end:].tolist()) or end == TOTAL, "a shard of a window that is over comes back"
        place = end


def test_one_window_of_all_is_as_good_as_uniform() -> None:
    """Each sample stands at each place about equally often."""
    places = np.zeros((TOTAL, TOTAL))
    order = WindowedOrder(SIZES, len(SIZES))
    for epoch in range(2000):
        places[order.part((0, epoch), (), 0, TOTAL), np.arange(TOTAL)] += 1
    expected = 2000 / TOTAL
    assert abs(places - expected).max() < 6 * np.sqrt(expected)


def test_the_uniform_order_is_that_of_earlier_versions() -> None:
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([7, 2])))
    assert UniformOrder(20).part((7, 2), (), 3, 9).tolist() == generator.permutation(20)[3:9].tolist()
