"""Brush masks as Label Studio packs them: runs of the bytes of an RGBA picture, row by row, in a stream of bits."""

from __future__ import annotations

import numpy as np

from effiseg.data.polygons import BoolArray


def decode_brush(data: bytes, shape: tuple[int, int]) -> BoolArray:
    """The pixels that a brush covers: those whose alpha is not 0.

    The stream begins with the number of values (32 bits), the bits of a value less one (5) and those of four kinds of
    lengths less one (4 each). Then follow blocks: a bit that says whether one value is repeated, the kind of the
    length (2), the length less one, and the value or the values.

    Args:
        data: the stream.
        shape: (height, width) of the picture.

    Returns:
        (H, W) mask.

    Raises:
        ValueError: the stream is not of that form, or does not fill the picture.
    """
    total = 4 * shape[0] * shape[1]
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8))
    text = (bits + ord("0")).tobytes().decode("ascii")
    place = 0

    def read(count: int) -> int:
        nonlocal place
        place += count
        if place > len(text):
            raise ValueError("a brush's runs end too early")
        return int(text[place - count : place], 2)

    stated, width = read(32), read(5) + 1
    lengths = [read(4) + 1 for _ in range(4)]
    if stated != total or width != 8:
        raise ValueError(f"a brush's runs hold {total} values of 8 bits here; found {stated} of {width}")
    values = np.zeros(total, dtype=np.uint8)
    done = 0
    while done < total:
        is_repeated = read(1)
        count = read(lengths[read(2)]) + 1
        if done + count > total:
            raise ValueError("a brush's runs are longer than its picture")
        if is_repeated:
            values[done : done + count] = read(8)
        else:
            end = place + 8 * count
            if end > len(text):
                raise ValueError("a brush's runs end too early")
            values[done : done + count] = np.packbits(bits[place:end])
            place = end
        done += count
    return values.reshape(*shape, 4)[..., 3].astype(np.bool_)
