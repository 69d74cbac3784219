from __future__ import annotations

import numpy as np
import pytest

from effiseg.data.run_lengths import decode_run_lengths


def pack(lengths: list[int]) -> str:
    """COCO's packing as its format describes it: the difference to two before, 5 bits a character, the sign last."""
    text = ""
    for index, length in enumerate(lengths):
        value = length - lengths[index - 2] if index > 2 else length
        while True:
            digits, value = value & 31, value >> 5
            more = value != (-1 if digits & 16 else 0)
            text += chr(48 + digits + (32 if more else 0))
            if not more:
                break
    return text


def runs_of(mask: np.ndarray) -> list[int]:
    flat = mask.T.reshape(-1)
    borders = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *borders, flat.size]).tolist()
    return [0, *lengths] if flat[0] else lengths


def test_runs_go_down_the_columns_and_begin_with_zeros() -> None:
    expected = np.array([[0, 1, 1], [0, 1, 0]], dtype=bool)
    np.testing.assert_array_equal(decode_run_lengths([2, 3, 1], (2, 3)), expected)
    np.testing.assert_array_equal(decode_run_lengths("231", (2, 3)), expected)  # small numbers are their own digits
    np.testing.assert_array_equal(decode_run_lengths([0, 6], (2, 3)), np.ones((2, 3), dtype=bool))


@pytest.mark.parametrize("seed", range(6))
def test_masks_survive_both_encodings(seed: int) -> None:
    generator = np.random.default_rng(seed)
    shape = tuple(generator.integers(1, 300, 2))
    mask = np.kron(generator.integers(0, 2, (4, 5)), np.ones((80, 80))).astype(bool)[: shape[0], : shape[1]]
    mask = mask ^ (generator.random(mask.shape) < 0.01)  # long runs and short ones: differences of both signs
    lengths = runs_of(mask)
    np.testing.assert_array_equal(decode_run_lengths(lengths, mask.shape), mask)
    np.testing.assert_array_equal(decode_run_lengths(pack(lengths), mask.shape), mask)


@pytest.mark.parametrize(
    ("counts", "complaint"),
    [
        ([1, 2], "must fill 2x3 pixels; found 3"),
        ([7, -1], "must fill"),
        ("23", "must fill 2x3 pixels; found 5"),
        ("2\x003", "characters 0 to o"),
        ("2P", "end within a number"),
    ],
)
def test_damaged_runs_are_refused(counts: str | list[int], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        decode_run_lengths(counts, (2, 3))
