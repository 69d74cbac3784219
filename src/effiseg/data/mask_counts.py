"""Pixel counts of every mask of a split: counted once, and kept for later runs.

Counting must decode every mask, which takes minutes to hours for 100 000 of them. The table is therefore kept in
`cache_root()/statistics`, under a name made of everything that it depends on: the files' paths, sizes and times, and
the settings of the data set that decide labels.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from effiseg.data.cache_storage import cache_root
from effiseg.data.classes import Classes
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.parallel import map_in_processes
from effiseg.data.sample import Sample
from effiseg.errors import ResourceError
from effiseg.files import atomic_path
from effiseg.progress import Progress

_FORMAT = 2
_KEPT_TABLES = 64
"""A table of 100 000 masks takes some MB; the oldest ones beyond this number go."""


@dataclasses.dataclass(frozen=True)
class MaskCounts:
    """Pixels of N masks."""

    classes: npt.NDArray[np.uint32]
    """(N, K) pixels of each class in each mask."""
    ignored: npt.NDArray[np.int64]
    """(N,) pixels that count nowhere, those of unlisted values included."""
    unlisted: dict[int, int]
    """Raw values that label_mapping does not list → pixels, over all masks."""


def count_masks(
    spec: DatasetSpec, samples: Sequence[Sample], progress: Progress | None = None, processes: int | None = None
) -> MaskCounts:
    """Count the pixels of every sample's mask, or take what an earlier run counted.

    Args:
        spec: the data set.
        samples: whose masks.
        progress: called after every mask that is read.
        processes: masks decoded at a time; None: one a core.

    Raises:
        DataError: a mask cannot be read, or holds a value that is no class.
        ResourceError: a process that decodes was ended by the system.
    """
    # Before reading: a mask replaced meanwhile must not look like the new one.
    kept = _place(spec, samples)
    if kept is not None and (known := _load(kept, (len(samples), spec.num_classes))) is not None:
        return known
    classes = np.zeros((len(samples), spec.num_classes), dtype=np.uint32)
    ignored = np.zeros(len(samples), dtype=np.int64)
    unlisted: dict[int, int] = {}
    if not all(sample.can_be_sent for sample in samples):
        processes = 1
    results = map_in_processes(partial(_count_mask, spec.classes), samples, progress, processes)
    for index, (mask_classes, mask_ignored, mask_unlisted) in enumerate(results):
        classes[index], ignored[index] = mask_classes, mask_ignored
        for value, pixels in mask_unlisted.items():
            unlisted[value] = unlisted.get(value, 0) + pixels
    counts = MaskCounts(classes, ignored, dict(sorted(unlisted.items())))
    if kept is not None:
        with contextlib.suppress(ResourceError):  # no place, no room, not ours: the next run counts again
            _store(kept, counts)
    return counts


def _count_mask(spec: Classes, sample: Sample) -> tuple[npt.NDArray[np.uint32], int, dict[int, int]]:
    """Class counts (K,), ignored pixels and unlisted values of one mask."""
    per_label, unlisted = sample.count_labels(spec)
    return per_label[: spec.num_classes].astype(np.uint32), int(per_label[spec.ignore_index]), unlisted


def _place(spec: DatasetSpec, samples: Sequence[Sample]) -> Path | None:
    """File of the table of these masks as they are now; None where one of them is missing or no file."""
    settings = {"classes": spec.num_classes, **spec.labels_key}
    key = hashlib.blake2b(digest_size=16)
    key.update(json.dumps([_FORMAT, settings]).encode())
    for sample in samples:
        key.update(f"\0{sample.key}".encode(errors="surrogateescape"))
        for path in sample.files or (None,):
            try:
                file = os.stat(path)  # type: ignore[arg-type]  # noqa: PTH116 - 100 000 of them
            except (OSError, TypeError):
                return None
            key.update(f"\0{file.st_size} {file.st_mtime_ns}".encode())
    return cache_root() / "statistics" / f"{key.hexdigest()}.npz"


def _load(path: Path, shape: tuple[int, int]) -> MaskCounts | None:
    """The table in a file; None where there is none or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            classes, ignored, unlisted = file["classes"], file["ignored"], file["unlisted"]
        counts = MaskCounts(classes, ignored, {int(value): int(pixels) for value, pixels in unlisted})
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
    whole = classes.shape == shape and ignored.shape == shape[:1] and classes.dtype == np.uint32
    return counts if whole else None


def _store(path: Path, counts: MaskCounts) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        unlisted = np.array(list(counts.unlisted.items()), dtype=np.int64).reshape(-1, 2)
        np.savez_compressed(stream, classes=counts.classes, ignored=counts.ignored, unlisted=unlisted)
    tables = sorted(path.parent.glob("*.npz"), key=lambda table: table.stat().st_mtime)
    for table in tables[:-_KEPT_TABLES]:
        table.unlink(missing_ok=True)
