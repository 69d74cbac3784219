"""COCO's run-length encoded masks, decoded: down the columns, runs of 0 and 1 in turns, beginning with 0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_MOST_BITS = 60
"""Of a packed length: a number without end would take time that grows with its square."""


def decode_run_lengths(
    counts: str | Sequence[int] | npt.NDArray[np.int64], shape: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """The mask of a run-length encoding.

    Args:
        counts: the runs' lengths, or the text that COCO's tools pack them into.
        shape: (height, width).

    Returns:
        (H, W) mask.

    Raises:
        ValueError: the lengths are no numbers from 0 on, or do not fill the mask.
    """
    height, width = shape
    lengths = run_lengths(counts)
    if lengths.ndim != 1 or (lengths < 0).any() or _total(lengths) != height * width:
        raise ValueError(f"the runs must fill {height}x{width} pixels; found {_total(lengths)}")
    ones = np.arange(len(lengths)) % 2 == 1
    return np.repeat(ones, lengths).reshape(width, height).T


def _total(lengths: npt.NDArray[np.int64]) -> int:
    return sum(lengths.reshape(-1).tolist())  # of Python's numbers, which do not overflow


def run_lengths(counts: str | Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The lengths of the runs, (N,); arguments as `decode_run_lengths`.

    Raises:
        ValueError: the text is no packing, or a length is no number of 64 bits.
    """
    try:
        return np.array(_unpack(counts) if isinstance(counts, str) else counts, dtype=np.int64)
    except OverflowError:
        raise ValueError("a run is longer than any image") from None


def _unpack(text: str) -> list[int]:
    """Lengths from text: 6 bits a character from "0" on, of which 5 are digits, the low ones first.

    The sixth says that the number goes on; the highest digit bit of its end is its sign. From the fourth number
    on, the difference to the one two places before is stored.
    """
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise ValueError(f"packed runs are made of the characters 0 to o; found {character!r}")
        value |= (code & 0x1F) << shift
        shift += 5
        if shift > _MOST_BITS:
            raise ValueError("a run is longer than any image")
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("packed runs end within a number")
    return lengths


def pack_run_lengths(mask: npt.NDArray[np.bool_]) -> str:
    """The text that COCO's tools pack the runs of a mask (H, W) into; see `_unpack`."""
    flat = np.concatenate([[False], mask.T.reshape(-1), [False]])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    lengths = np.diff(np.concatenate([[0], changes, [mask.size]])).tolist()
    if not lengths[-1]:
        lengths.pop()
    signs = []
    for index, length in enumerate(lengths):
        value = length - lengths[index - 2] if index > 2 else length
        while True:
            digit, value = value & 0x1F, value >> 5
            is_last = value == (-1 if digit & 0x10 else 0)
            signs.append(chr(48 + (digit if is_last else digit | 0x20)))
            if is_last:
                break
    return "".join(signs)
