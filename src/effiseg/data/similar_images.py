"""Images that several splits share, or nearly share, found without comparing every pair.

Two images are alike when their 64-bit cosine hashes differ in at most three bits and their thumbnails correlate.
Of four bands of 16 bits at least one is then equal in both, so only images that share a band are compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from effiseg.data.check_pair import Picture
from effiseg.data.findings import Finding

MAXIMUM_BITS = 3
"""Largest number of differing bits; one less than the number of bands."""
_MINIMUM_CORRELATION = 0.98
"""Smallest correlation of the thumbnails: re-encoding, resizing and changed brightness keep it above."""
_BANDS, _BAND_BITS = MAXIMUM_BITS + 1, 16
_BLOCK = 256
_BITS_OF_BYTE = np.array([value.bit_count() for value in range(256)], dtype=np.uint8)


def shared_images(pictures: Sequence[Picture | None], splits: Sequence[str], files: Sequence[str]) -> list[Finding]:
    """Images of equal decoded pixels: between splits a fault, within one a warning.

    Args:
        pictures: of every sample; None where it cannot be read.
        splits: the split of every sample.
        files: the image of every sample.
    """
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, picture in enumerate(pictures):
        if picture is not None:
            groups[picture.digest].append(index)
    findings = []
    for group in groups.values():
        if len(group) == 1:
            continue
        named = tuple(dict.fromkeys(splits[index] for index in group))
        paths = tuple(files[index] for index in group)
        others = f"{paths[1]}{_more(len(paths) - 2)}"
        if len(named) > 1:
            message = (
                f"{paths[0]}: an image belongs to one split; the same pixels are in {others} "
                f"({', '.join(named)}); remove all but one, or scores are of images that were learnt"
            )
            findings.append(Finding("shared_image", message, named, paths))
        else:
            message = (
                f"{paths[0]}: an image should stand once in {named[0]}; the same pixels are in {others}; remove them, "
                "or it counts several times"
            )
            findings.append(Finding("repeated_image", message, named, paths))
    return findings


def similar_images(pictures: Sequence[Picture | None], splits: Sequence[str], files: Sequence[str]) -> list[Finding]:
    """Images of different splits that look the same although their pixels differ; arguments as `shared_images`.

    Mirrored, turned and cropped copies are not found.
    """
    first_of: dict[tuple[bytes, str], int] = {}
    for index, picture in enumerate(pictures):
        # Flat images have nothing to compare.
        if picture is not None and picture.thumbnail.std() > 2:
            first_of.setdefault((picture.digest, splits[index]), index)
    chosen = list(first_of.values())
    hashes = np.array([_picture(pictures, index).hash for index in chosen], dtype=np.uint64)
    findings = []
    for a, b in sorted(_near_pairs(hashes, [splits[index] for index in chosen])):
        one, other = _picture(pictures, chosen[a]), _picture(pictures, chosen[b])
        if one.digest == other.digest or _correlation(one, other) < _MINIMUM_CORRELATION:
            continue
        paths = (files[chosen[a]], files[chosen[b]])
        named = (splits[chosen[a]], splits[chosen[b]])
        message = (
            f"{paths[0]} ({named[0]}): images of different splits should differ; {paths[1]} ({named[1]}) looks the "
            "same; if it is the same scene, keep both in one split"
        )
        findings.append(Finding("similar_image", message, named, paths))
    return findings


def _near_pairs(hashes: npt.NDArray[np.uint64], splits: list[str]) -> set[tuple[int, int]]:
    """Pairs (a, b), a < b, of different splits whose hashes differ in at most MAXIMUM_BITS bits."""
    codes = {split: number for number, split in enumerate(dict.fromkeys(splits))}
    split_of = np.array([codes[split] for split in splits], dtype=np.int8)
    pairs: set[tuple[int, int]] = set()
    for band in range(_BANDS):
        keys = (hashes >> np.uint64(band * _BAND_BITS)) & np.uint64(2**_BAND_BITS - 1)
        for bucket in _buckets(keys):
            for start in range(0, len(bucket), _BLOCK):  # bounds memory where very many share a band
                rows = bucket[start : start + _BLOCK]
                differing = np.ascontiguousarray(hashes[rows][:, None] ^ hashes[bucket][None]).view(np.uint8)
                bits = _BITS_OF_BYTE[differing].reshape(len(rows), len(bucket), 8).sum(axis=2)
                near = bits <= MAXIMUM_BITS
                near &= split_of[rows][:, None] != split_of[bucket][None]
                near &= rows[:, None] < bucket[None]
                pairs.update(zip(*(side.tolist() for side in _where(near, rows, bucket)), strict=True))
    return pairs


def _where(
    near: npt.NDArray[np.bool_], rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    row, column = np.nonzero(near)
    return rows[row], columns[column]


def _buckets(keys: npt.NDArray[np.uint64]) -> Iterator[npt.NDArray[np.intp]]:
    """Indices that share a key, for every key of at least two."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order])) + 1
    yield from (bucket for bucket in np.split(order, starts) if len(bucket) > 1)


def _correlation(one: Picture, other: Picture) -> float:
    return float(np.corrcoef(one.thumbnail.reshape(-1), other.thumbnail.reshape(-1))[0, 1])


def _picture(pictures: Sequence[Picture | None], index: int) -> Picture:
    picture = pictures[index]
    assert picture is not None
    return picture


def _more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""
