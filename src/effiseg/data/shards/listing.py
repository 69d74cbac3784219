"""Shards that an entry of a data set names, and the samples in them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from effiseg.data.folders import glob_files, has_wildcard
from effiseg.data.names import IMAGE_EXTENSIONS, clean_id
from effiseg.data.sample import Sample
from effiseg.data.shards.index import ShardIndex, load_index
from effiseg.data.shards.member import ShardMember
from effiseg.data.shards.remote import is_remote, list_remote, shown
from effiseg.errors import DataError
from effiseg.progress import progress_bar

SHARD_SUFFIX = ".tar"
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST_SHARDS = 1_000_000
_ESCAPED_DOT = "%2E"
_MASK_WORDS = ("mask", "seg", "label", "labels", "segmentation", "annotation")
"""Words before the last dot of a member's suffix that make a mask of it, as in ID.mask.png."""
_IMAGE_ENDS = tuple(IMAGE_EXTENSIONS)
_PHOTO_SUFFIXES = ("jpg", "jpeg", "webp")
"""Beside one of them a plain ID.png is a mask."""


def escaped_key(name: str) -> str:
    """A sample's id as a key, which ends at the first dot."""
    return name.replace(".", _ESCAPED_DOT)


def names_shards(entry: str) -> bool:
    """Whether an entry of a data set leads to shards: its name ends in .tar.

    Raises:
        DataError: it is an address of a kind that is not read.
    """
    return (entry.partition("?")[0] if is_remote(entry) else entry).lower().endswith(SHARD_SUFFIX)


def shards_of(root: Path, entry: str, source: object) -> list[str]:
    """The shards that an entry names, sorted; `{000..146}` stands for numbers, also in addresses.

    Args:
        root: folder that the entry is relative to.
        entry: a file, a glob or an address that ends in .tar.
        source: the description, for errors.

    Raises:
        DataError: there is none.
    """
    found: list[str] = []
    for name in _expanded(entry, source):
        if is_remote(name):
            found += list_remote(name) if has_wildcard(name.partition("?")[0]) else [name]
            continue
        path = root / Path(name).expanduser()
        found += [str(path)] if path.is_file() or not has_wildcard(name) else glob_files(str(path), [])
    if not found:
        raise DataError(f"{source}: {shown(entry)} must lead to shards; found none")
    return sorted(os.path.normpath(name) if not is_remote(name) else name for name in found)


def _expanded(entry: str, source: object) -> list[str]:
    ranges = _BRACES.search(entry)
    if ranges is None:
        return [entry]
    first, last = int(ranges[1]), int(ranges[2])
    if not 0 <= last - first < _MOST_SHARDS:
        raise DataError(f"{source}: {ranges[0]} must count up, over at most {_MOST_SHARDS} shards")
    width = len(ranges[1])
    numbers = range(first, last + 1)
    return [
        name
        for number in numbers
        for name in _expanded(f"{entry[: ranges.start()]}{number:0{width}d}{entry[ranges.end() :]}", source)
    ]


@dataclass(frozen=True)
class _Shard:
    """What is kept of a shard's index: little for each sample, and no Python object."""

    address: str
    text: bytes
    """All keys, one after the other."""
    ends: npt.NDArray[np.int64]
    """(N,) where each key ends."""
    suffixes: tuple[str, ...]
    images: npt.NDArray[np.int64]
    """(N, 3) suffix, offset and size of each image."""
    masks: npt.NDArray[np.int64] | None
    """The same of masks; None: there are none, or they are passed over."""

    def key(self, place: int) -> str:
        start = int(self.ends[place - 1]) if place else 0
        return self.text[start : int(self.ends[place])].decode(errors="surrogateescape")

    def member(self, key: str, column: npt.NDArray[np.int64], place: int) -> ShardMember:
        suffix, offset, size = (int(value) for value in column[place])
        return ShardMember(self.address, f"{key}.{self.suffixes[suffix]}", offset, size)


Maker = Callable[[str, ShardMember, ShardMember], Sample]
"""(id, image, mask) → a sample; without masks the image stands in the mask's place."""


class ShardSamples(Sequence[Sample]):
    """The samples of shards, made when they are asked for; loader workers share what is kept of them.

    Args:
        shards: what is kept of each.
        make: makes a sample.
        own_names: whether ids begin with the shard's name, where keys alone do not differ.
    """

    def __init__(self, shards: Sequence[_Shard], make: Maker, own_names: bool) -> None:
        self._shards = shards
        self._make = make
        self._own_names = own_names
        self.sizes = tuple(len(shard.ends) for shard in shards)
        """Samples of each shard, whose samples follow each other."""
        self._ends = np.cumsum([0, *self.sizes])

    @property
    def addresses(self) -> list[str]:
        """The shards."""
        return [shard.address for shard in self._shards]

    def __len__(self) -> int:
        return int(self._ends[-1])

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        """One sample, or a list of several."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        number = int(np.searchsorted(self._ends, place, "right")) - 1
        shard, place = self._shards[number], place - int(self._ends[number])
        key = shard.key(place)
        image = shard.member(key, shard.images, place)
        mask = image if shard.masks is None else shard.member(key, shard.masks, place)
        name = key.replace("/", "__").replace(_ESCAPED_DOT, ".")
        stem = Path(shown(shard.address)).stem
        return self._make(clean_id(f"{stem}__{name}" if self._own_names else name), image, mask)

    def __iter__(self) -> Iterator[Sample]:
        return (self[place] for place in range(len(self)))


@dataclass(frozen=True)
class MemberNames:
    """Which members of a sample are its image and its mask."""

    mask_ends: tuple[str, ...] | None
    """Ends of masks' names, each with its dot; None: masks are passed over."""
    image: str | None = None
    """What follows the key in an image's name; None: it is told by the names."""
    mask: str | None = None
    """What follows it in a mask's name; None: it is told by the names."""

    def masks_among(self, suffixes: Sequence[str]) -> list[str]:
        """The members that are masks: ID.mask.png and the like, or ID.png beside a photograph."""
        if self.mask is not None:
            return [name for name in suffixes if name == self.mask.lstrip(".")]
        ends = self.mask_ends or _IMAGE_ENDS
        worded = [name for name in suffixes if name.endswith(ends) and name.partition(".")[0] in _MASK_WORDS]
        if worded or not any(name in _PHOTO_SUFFIXES for name in suffixes):
            return worded
        return [name for name in suffixes if f".{name}" in ends and name not in _PHOTO_SUFFIXES]

    def images_among(self, suffixes: Sequence[str]) -> list[str]:
        """The members that are images."""
        if self.image is not None:
            return [name for name in suffixes if name == self.image.lstrip(".")]
        masks = self.masks_among(suffixes)
        return [name for name in suffixes if f".{name}" in IMAGE_EXTENSIONS and name not in masks]


def list_shards(addresses: Sequence[str], make: Maker, names: MemberNames, source: object) -> ShardSamples:
    """The samples in shards.

    Args:
        addresses: of the shards.
        make: makes a sample of an id, its image and its mask.
        names: which members these are.
        source: the description, for errors.

    Raises:
        DataError: a shard cannot be read, or holds no images, an image without a mask, or ids do not differ.
    """
    shards: list[_Shard] = []
    hashes: list[npt.NDArray[np.int64]] = []
    with progress_bar("reading the indices of shards", log_seconds=10) as advance:
        for number, address in enumerate(addresses, start=1):
            index = load_index(address)
            shards.append(_kept(address, index, names))
            hashes.append(np.array([hash(key) for key in index.keys], np.int64))
            advance(number, len(addresses))
    total = sum(len(shard.ends) for shard in shards)
    if not total:
        raise DataError(f"{source}: shards must hold images; found none in {', '.join(map(shown, addresses[:3]))}")
    repeated = len(np.unique(np.concatenate(hashes))) < total
    stems = [Path(shown(address)).stem for address in addresses]
    if repeated and len(set(stems)) < len(stems):
        twice = next(stem for place, stem in enumerate(stems) if stem in stems[:place])
        raise DataError(
            f"{source}: sample ids must differ; found equal keys, and two shards called {twice}.tar; rename one"
        )
    return ShardSamples(shards, make, repeated)


def _kept(address: str, index: ShardIndex, names: MemberNames) -> _Shard:
    """What is kept of an index.

    Raises:
        DataError: a sample has no image, or no mask where there should be one.
    """
    suffixes = tuple(index.members)
    images = _column(index, names.images_among(suffixes))
    _refuse_absent(address, index, images, f"an image ({names.image or ' '.join(IMAGE_EXTENSIONS)})")
    masks = None
    if names.mask_ends is not None:
        masks = _column(index, names.masks_among(suffixes))
        wanted = names.mask or " ".join(f".{_MASK_WORDS[0]}{end}" for end in names.mask_ends)
        _refuse_absent(address, index, masks, f"a mask ({wanted})")
    keys = [key.encode(errors="surrogateescape") for key in index.keys]
    ends = np.cumsum([len(key) for key in keys], dtype=np.int64)
    return _Shard(address, b"".join(keys), ends, suffixes, images, masks)


def _column(index: ShardIndex, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """(N, 3): of each sample the first of `names` that it has, as number among all suffixes, offset and size."""
    suffixes = list(index.members)
    column = np.zeros((len(index.keys), 3), np.int64)
    for name in reversed(names):
        there = index.members[name][:, 0] > 0
        column[there, 0] = suffixes.index(name)
        column[there, 1:] = index.members[name][there]
    return column


def _refuse_absent(address: str, index: ShardIndex, column: npt.NDArray[np.int64], what: str) -> None:
    absent = np.flatnonzero(column[:, 1] == 0)
    if len(absent):
        key = index.keys[int(absent[0])]
        held = ", ".join(name for name, places in index.members.items() if places[absent[0], 0]) or "nothing"
        raise DataError(
            f"{shown(address)}: every sample needs {what}; {key!r} has {held} ({len(absent)} of {len(index.keys)} "
            "samples lack it)"
        )
