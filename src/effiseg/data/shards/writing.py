"""Any data set, or pictures alone, written as shards of WebDataset's format with an index of each.

The files' bytes are not changed. Samples are put in an order that their ids give and that is as good as random, so
that every shard is a sample of its whole split. A shard appears under its name when it is whole, its index after it:
what was ended goes on where it was.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from effiseg.data.dataset_spec import SPLITS, DatasetSpec, read_description
from effiseg.data.parallel import map_in_processes
from effiseg.data.regular_file import EmbeddedFile, open_regular
from effiseg.data.sample import Sample
from effiseg.data.samples import list_samples
from effiseg.data.shard_samples import refuse_masks_that_do_not_fit
from effiseg.data.shards.index import FORMAT, INDEX_SUFFIX, ShardIndex, index_tar, load_index
from effiseg.data.shards.listing import escaped_key
from effiseg.data.unlabeled_samples import UNLABELED, list_unlabeled
from effiseg.errors import DataError, EffisegError, UsageError
from effiseg.files import (
    LockedError,
    atomic_path,
    exclusive_lock,
    make_folder,
    read_json,
    remove_leftovers,
    require_room,
    write_json,
    write_yaml,
)
from effiseg.progress import Progress

YAML_NAME = "data.yaml"
RECORD_NAME = "shards.json"
_MB = 1_000_000
_PLACE_KEYS = (*SPLITS, UNLABELED, "path", "images_dir", "masks_dir", "image_suffix", "mask_suffix", "download")
"""Keys of a description that say where files lie; in shards they lie elsewhere."""
_TAR_OVERHEAD = 1024
"""Bytes that a tar file needs for a member beside its own, about."""


@dataclass(frozen=True)
class _Plan:
    """One shard that is to be written."""

    name: str
    split: str
    samples: Sequence[Sample]
    bytes: int


def shard_dataset(
    spec: DatasetSpec,
    out: str | os.PathLike[str],
    *,
    shard_mb: float = 256,
    progress: Progress | None = None,
    processes: int | None = None,
) -> dict[str, dict[str, Any]]:
    """Write a data set as `SPLIT-000000.tar`, … with an index beside each, `shards.json` and `data.yaml`.

    Args:
        spec: the data set; one without splits has unlabeled pictures alone, and gets no `data.yaml`.
        out: the folder to write: new, empty, or of an earlier call with the same data and size, which is completed.
        shard_mb: size of a shard, 10⁶ bytes; the last of a split is smaller.
        progress: called after every shard.
        processes: shards written at a time; None: one a core.

    Returns:
        Split → what `shards.json` says of it.

    Raises:
        UsageError: the package webdataset is missing.
        DataError: the folder holds something else, a sample cannot be read, or its masks lie in one file for all.
        ResourceError: there is no room, or a process was ended by the system.
    """
    if find_spec("webdataset") is None:
        raise UsageError("shards are written by the package webdataset: pip install 'effiseg[scale]'")
    folder = Path(out).expanduser()
    plans = _planned(spec, shard_mb)
    settings = {"shard_mb": shard_mb, "samples": _fingerprint(plans), "labels": repr(spec.labels_key)}
    record = folder / RECORD_NAME
    _refuse_other(folder, record, settings)
    make_folder(folder)
    try:
        with exclusive_lock(folder / ".lock"):
            remove_leftovers(folder)
            write_json(record, {"format": FORMAT, "settings": settings, "splits": {}})
            missing = [plan for plan in plans if _finished(folder / plan.name) is None]
            require_room(folder, sum(plan.bytes for plan in missing), "shards")
            done = len(plans) - len(missing)

            def tell(count: int, total: int) -> None:
                if progress is not None:
                    progress(done + count, len(plans))

            if not all(sample.can_be_sent for plan in missing for sample in plan.samples):
                processes = 1
            for _ in map_in_processes(partial(_write, spec, folder), missing, tell, processes, chunk=1):
                pass
            splits = _described(folder, plans)
            if spec.splits:
                write_yaml(folder / YAML_NAME, _description(spec, splits))
            names = list(spec.names)
            write_json(record, {"format": FORMAT, "settings": settings, "classes": names, "splits": splits})
    except LockedError as holder:
        raise DataError(f"{folder}: is being written by {holder}; wait until it ends, or stop it") from None
    return splits


def _refuse_other(folder: Path, record: Path, settings: dict[str, Any]) -> None:
    """Refuse a folder that holds what is not of an earlier call with the same data and settings.

    Raises:
        DataError: it does.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DataError(f"{folder}: must be a folder, new or empty; found a file; choose another name")
    inside = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    if not inside:
        return
    try:
        earlier = read_json(record)["settings"]
    except (EffisegError, KeyError, TypeError):
        raise DataError(
            f"{folder}: must be new, empty or of an earlier call; found {inside[0]}; choose another"
        ) from None
    changed = [name for name, value in settings.items() if not isinstance(earlier, dict) or earlier.get(name) != value]
    if changed:
        raise DataError(
            f"{folder}: holds shards of an earlier call with other {' and '.join(changed)}; remove it, or choose "
            "another"
        )


def _planned(spec: DatasetSpec, shard_mb: float) -> list[_Plan]:
    """All shards, of all splits.

    Raises:
        DataError: samples cannot be listed, lie in no files, or have masks in one file for all.
    """
    if spec.splits:
        refuse_masks_that_do_not_fit(spec)
    listed = {split: list_samples(spec, split) for split in spec.splits}
    if spec.unlabeled:
        listed[UNLABELED] = list_unlabeled(spec, [])
    plans: list[_Plan] = []
    for split, samples in listed.items():
        if any(not sample.parts for sample in samples[:1]):
            raise DataError(f"{spec.source}: {split} has no files that could be put into shards")
        groups = _cut(sorted(samples, key=_place_of), int(shard_mb * _MB))
        plans += [_Plan(f"{split}-{n:06d}.tar", split, group, size) for n, (group, size) in enumerate(groups)]
    return plans


def _place_of(sample: Sample) -> bytes:
    """Place of a sample in its split: at random, and the same each time."""
    return hashlib.blake2b(sample.id.encode(), digest_size=16).digest()


def _cut(samples: Sequence[Sample], most: int) -> Iterator[tuple[list[Sample], int]]:
    """Neighbours that make up a shard, and their bytes."""
    group: list[Sample] = []
    total = 0
    for sample in samples:
        size = sum(_size(part) + _TAR_OVERHEAD for part in sample.parts)
        if group and total + size > most:
            yield group, total
            group, total = [], 0
        group.append(sample)
        total += size
    if group:
        yield group, total


def _size(part: os.PathLike[str]) -> int:
    if isinstance(part, EmbeddedFile):
        return part.extent[1]
    try:
        return os.stat(part).st_size  # noqa: PTH116 - millions of them
    except OSError as error:
        raise DataError(f"{os.fspath(part)}: cannot be read ({error.strerror or error})") from None


def _fingerprint(plans: Sequence[_Plan]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for plan in plans:
        digest.update(f"{plan.name}\0{plan.bytes}\n".encode())
        for sample in plan.samples:
            digest.update(f"{sample.id}\n".encode())
    return digest.hexdigest()


class _Hashing:
    """A stream that is written, and whose bytes are hashed on the way."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = hashlib.blake2b(digest_size=32)

    def write(self, data: bytes) -> int:
        """See `io.RawIOBase`."""
        self.digest.update(data)
        return self._stream.write(data)

    def close(self) -> None:
        """The stream belongs to who opened it."""


def _write(spec: DatasetSpec, folder: Path, plan: _Plan) -> None:
    """Write one shard, and its index.

    Raises:
        DataError: a sample cannot be read, or its mask holds what is no class.
        ResourceError: the shard cannot be written.
    """
    from webdataset import ShardWriter

    path = folder / plan.name
    pixels = np.zeros(256, np.int64)
    with atomic_path(path) as temporary:
        with temporary.open("wb") as stream:
            hashing = _Hashing(stream)
            # One file whose name is ours; times and names of users would make equal shards differ.
            with ShardWriter(
                "%d", opener=lambda _: hashing, maxcount=len(plan.samples) + 1, maxsize=float("inf"), verbose=0,
                encoder=False, mtime=0, compress=False, format="PAX_FORMAT",
            ) as writer:  # fmt: skip
                for sample in plan.samples:
                    writer.write(_members(sample))
                    if sample.is_labelled:
                        pixels += sample.count_labels(spec)[0]
        counted = dict(zip(spec.names, pixels[: spec.num_classes].tolist(), strict=True))
        labelled = plan.split != UNLABELED
        with temporary.open("rb") as written:
            index = index_tar(
                written, path, digest=hashing.digest.hexdigest(), class_pixels=counted if labelled else None
            )
    assert list(index.keys) == [escaped_key(sample.id) for sample in plan.samples], path
    write_json(_index_path(path), index.to_dict())


def _members(sample: Sample) -> dict[str, Any]:
    """A sample as WebDataset has it."""
    image = sample.parts[0]
    members: dict[str, Any] = {"__key__": escaped_key(sample.id), _suffix(image): _bytes(image)}
    if sample.is_labelled:
        mask = sample.parts[1]
        members[f"mask.{_suffix(mask)}"] = _bytes(mask)
    return members


def _suffix(part: os.PathLike[str]) -> str:
    return Path(part).suffix.lower().lstrip(".")


def _bytes(part: os.PathLike[str]) -> bytes:
    with open_regular(part, "file") as stream:
        try:
            return stream.read()
        except OSError as error:
            raise DataError(f"{os.fspath(part)}: cannot be read ({error.strerror or error})") from None


def _index_path(shard: Path) -> Path:
    return shard.with_name(f"{shard.stem}{INDEX_SUFFIX}")


def _finished(shard: Path) -> ShardIndex | None:
    """The index of a shard that is there and whole; None where it is not."""
    if not _index_path(shard).is_file():
        return None
    try:
        return load_index(str(shard))
    except EffisegError:
        return None


def _described(folder: Path, plans: Sequence[_Plan]) -> dict[str, dict[str, Any]]:
    """Split → its shards, and their sums."""
    splits: dict[str, dict[str, Any]] = {}
    for plan in plans:
        index = _finished(folder / plan.name)
        assert index is not None, plan.name
        split = splits.setdefault(plan.split, {"samples": 0, "bytes": 0, "class_pixels": None, "shards": []})
        split["samples"] += len(index.keys)
        split["bytes"] += index.bytes
        split["shards"].append(
            {"name": plan.name, "samples": len(index.keys), "bytes": index.bytes, "digest": index.digest}
        )
        if index.class_pixels is not None:
            before = split["class_pixels"] or dict.fromkeys(index.class_pixels, 0)
            split["class_pixels"] = {name: before[name] + count for name, count in index.class_pixels.items()}
    return splits


def _description(spec: DatasetSpec, splits: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The data set's own description, with shards in the places of files."""
    values = {name: value for name, value in read_description(spec).items() if name not in _PLACE_KEYS}
    return {split: f"{split}-*.tar" for split in splits} | values
