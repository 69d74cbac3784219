"""Decoded images and labels, kept in files that later epochs and runs map into memory.

One file a sample: a header of 64 bytes, the image (h, w, 3), the label (H, W), both uint8. It is written under
another name and renamed when whole, so a kill leaves an entry or none; checksums tell what a power cut or a bad disk
left of it. Files lie in one folder for all settings that decide what they hold; a file is found by the paths of its
image and mask, and served only while size and time of both are what they were when it was written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import secrets
import struct
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from effiseg.config.data import AugmentationConfig, Resize
from effiseg.data.cache_storage import CacheStorage
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.sample import Sample
from effiseg.data.transforms import UInt8Array, resize_image, resize_mask, resized_shape
from effiseg.files import write_json

_MAGIC = b"effiseg3"  # the last character is the version of the format
_FIELDS = struct.Struct("<8s6I16s")  # magic, (height, width) of image, label and original, state of the source files
_CHECKSUM = struct.Struct("<2I8x")  # of the fields, and of the pixels
_HEADER_SIZE = _FIELDS.size + _CHECKSUM.size
_checked: set[int] = set()
"""Entries whose pixels this process has compared with their checksum; in every epoch it would slow reading down."""
_ABANDONED_SECONDS = 600.0
"""A temporary file is written within a fraction of a second; one as old as this was left by a process that died."""


class StoredPair(NamedTuple):
    """An image and its label, perhaps reduced."""

    image: UInt8Array
    """(h, w, 3) RGB; read-only when it comes from a file."""
    label: UInt8Array
    """(H, W) class index or ignore_index; read-only when it comes from a file."""
    original_shape: tuple[int, int]
    """(height, width) of the image file."""


@dataclass(frozen=True)
class StoredSize:
    """The size at which pairs are stored: the largest that their reader asks for, or else the original."""

    image_size: tuple[int, int]
    """(height, width) of the network's input."""
    resize: Resize
    """How images are brought to it."""
    largest_scale: float = 1.0
    """The largest factor by which training scales the resized image."""
    original_labels: bool = False
    """Labels are stored as they are, as evaluation wants them."""

    @classmethod
    def for_training(cls, image_size: tuple[int, int], resize: Resize, augmentation: AugmentationConfig) -> StoredSize:
        """The reading of training at `image_size` with these (filled) knobs."""
        assert augmentation.scale_max is not None
        return cls(image_size, resize, augmentation.scale_max)

    @classmethod
    def for_evaluation(cls, image_size: tuple[int, int], resize: Resize) -> StoredSize:
        """The reading of evaluation at `image_size`."""
        return cls(image_size, resize, original_labels=True)

    def of(self, shape: tuple[int, int]) -> tuple[int, int]:
        """(height, width) at which an image of `shape` is stored: reduced to fewer pixels, or `shape` itself."""
        height, width = (
            max(1, round(side * self.largest_scale)) for side in resized_shape(shape, self.image_size, self.resize)
        )
        return (height, width) if height * width < shape[0] * shape[1] else shape

    def reduce(self, image: UInt8Array, label: UInt8Array) -> StoredPair:
        """The pair as it is stored: image averaged over areas, label nearest."""
        original = (image.shape[0], image.shape[1])
        shape = self.of(original)
        return StoredPair(
            resize_image(image, shape), label if self.original_labels else resize_mask(label, shape), original
        )


class SampleCache:
    """Reads the pairs of a data set, from files of its own where it can; can be pickled to workers.

    What it returns does not depend on whether a pair was stored already or could be stored at all.

    Args:
        spec: the data set.
        storage: where the files lie.
        size: the size at which pairs are stored.
    """

    def __init__(self, spec: DatasetSpec, storage: CacheStorage, size: StoredSize) -> None:
        self.spec = spec
        self.storage = storage
        self.size = size
        settings = self._settings()
        key = hashlib.blake2b(json.dumps(settings).encode(), digest_size=8).hexdigest()
        self.folder = storage.folder / key
        """Folder of all pairs that are read with these settings, of whatever data set."""
        self._refused = self.folder / "full"
        if not (self.folder / "settings.json").is_file():
            write_json(self.folder / "settings.json", settings)
        self._clean()

    def read_pair(self, sample: Sample) -> StoredPair:
        """The pair of a sample, stored now if it was not and there is room.

        Raises:
            DataError: as `Sample.read_pair`.
        """
        state = _state(sample)  # before reading: a file replaced meanwhile must not look like the new one
        path = self.folder / _name(sample)
        if state is not None and (stored := _load(path, state)) is not None:
            return stored
        pair = self.size.reduce(*sample.read_pair(self.spec))
        if state is not None:
            self._store(path, state, pair)
        return pair

    def count(self, samples: Sequence[Sample]) -> int:
        """How many of the samples have an entry; entries of replaced files count until they are read."""
        try:
            names = set(os.listdir(self.folder))  # noqa: PTH208 - 100 000 names, no Path for each
        except FileNotFoundError:  # somebody emptied the cache
            return 0
        return sum(_name(sample) in names for sample in samples)

    @property
    def is_full(self) -> bool:
        """Whether a pair was refused since this cache was opened, because the storage's bound was reached."""
        return self._refused.is_file()

    def _settings(self) -> dict[str, Any]:
        """Everything that decides what an entry holds."""
        spec, size = self.spec, self.size
        return {
            "format": _MAGIC.decode(),
            "opencv": cv2.__version__,  # it decodes and reduces
            "image_size": list(size.image_size),
            "resize": size.resize,
            "largest_scale": size.largest_scale,
            "original_labels": size.original_labels,
            **spec.labels_key,
        }

    def _clean(self) -> None:
        """Remove what processes that died left half-written, and the last run's mark that there was no room."""
        self._refused.unlink(missing_ok=True)
        for path in self.folder.glob("*.partial"):
            with contextlib.suppress(OSError):  # gone meanwhile
                if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                    path.unlink()

    def _store(self, path: Path, state: bytes, pair: StoredPair) -> None:
        """Write an entry; where it does not fit, the sample stays uncached."""
        image, label = np.ascontiguousarray(pair.image), np.ascontiguousarray(pair.label)
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
        try:
            if self.storage.room() < _HEADER_SIZE + image.nbytes + label.nbytes:
                self._refused.touch()
                return
            pixels = zlib.crc32(label.data, zlib.crc32(image.data))
            with temporary.open("xb") as stream:
                stream.write(_header(state, pair, pixels))
                stream.write(image.data)
                stream.write(label.data)
            # Not synchronized, which would cost more than decoding: a power cut may leave a file that is too short or
            # holds zeros, and that is seen when it is read.
            temporary.replace(path)
        except OSError:  # a quota, or the folder was removed
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
                self._refused.touch()


def _name(sample: Sample) -> str:
    """File name of a sample's entry."""
    return hashlib.blake2b(sample.key.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _state(sample: Sample) -> bytes | None:
    """16 bytes that change when a sample's files are replaced; None where one is missing, or it has none."""
    try:
        files = [os.stat(path) for path in sample.files]  # noqa: PTH116
    except OSError:
        return None
    if not files:
        return None
    text = " ".join(f"{file.st_size} {file.st_mtime_ns}" for file in files)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _header(state: bytes, pair: StoredPair, pixels: int) -> bytes:
    fields = _FIELDS.pack(_MAGIC, *pair.image.shape[:2], *pair.label.shape, *pair.original_shape, state)
    return fields + _CHECKSUM.pack(zlib.crc32(fields), pixels)


def _load(path: Path, state: bytes) -> StoredPair | None:
    """The entry at `path`, mapped; None where there is none, it is damaged, or its source files were replaced."""
    try:
        with path.open("rb", buffering=0) as stream:
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            file = os.fstat(stream.fileno())
    except (OSError, ValueError):  # ValueError: an empty file
        return None
    if len(data) < _HEADER_SIZE:
        return None
    fields = data[: _FIELDS.size]
    magic, height, width, label_height, label_width, *original, written = _FIELDS.unpack(fields)
    image_end = _HEADER_SIZE + 3 * height * width
    checksum, pixels_checksum = _CHECKSUM.unpack_from(data, _FIELDS.size)
    if (
        magic != _MAGIC
        or checksum != zlib.crc32(fields)
        or len(data) != image_end + label_height * label_width
        or written != state
    ):
        return None
    values = np.frombuffer(data, dtype=np.uint8)
    entry = hash((path.name, file.st_ino, file.st_mtime_ns))
    if entry not in _checked:
        if zlib.crc32(values[_HEADER_SIZE:].data) != pixels_checksum:
            return None
        _checked.add(entry)
    return StoredPair(
        values[_HEADER_SIZE:image_end].reshape(height, width, 3),
        values[image_end:].reshape(label_height, label_width),
        (original[0], original[1]),
    )
