"""Scoring label PNGs that any software wrote."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.folders import walk_files
from effiseg.data.names import clean_id
from effiseg.data.reading import map_labels, read_raw_mask
from effiseg.data.sample import Sample
from effiseg.data.transforms import UInt8Array
from effiseg.errors import DataError, UsageError
from effiseg.evaluation.scores import Compared
from effiseg.files import read_json
from effiseg.results import PREDICTION_RECORD

_NO_CLASS = 255


@dataclass(frozen=True)
class PredictionFolder:
    """Label PNGs at the labels' original size.

    What pixels hold says the record that `effiseg predict` writes, prediction.json, in the folder or beside it. Without
    one they hold the values of the data set's masks: raw ids where it has a label_mapping, else class indices; where
    its masks are no label PNGs (colours, polygons), class indices.
    A value that is no class (unlisted, or mapped to ignore) is a miss on a labelled pixel.
    """

    path: str | os.PathLike[str]
    """Searched with its subfolders, hidden ones passed over; of an output folder of `effiseg predict`, labels/. The
    prediction of sample `id` is the one PNG named `id.png` or `id_*.png`, or, where folders are part of the id, that of
    those folders. PNGs of no sample are passed over."""

    def comparisons(self, samples: Sequence[Sample], spec: DatasetSpec) -> list[Callable[[], Compared]]:
        """One function a sample, in their order, that reads its prediction and its label.

        Args:
            samples: of the data set.
            spec: the data set.

        Raises:
            DataError: a sample has no prediction or several; from the functions, a size differs from the label's,
                or a file cannot be read; the message names it.
        """
        folder = Path(self.path)
        table = _recorded_classes(folder, spec)
        if (folder / PREDICTION_RECORD).is_file() and (folder / "labels").is_dir():
            folder = folder / "labels"
        files = find_predictions(folder, [sample.id for sample in samples])
        return [partial(_compared, sample, files[sample.id], spec, table) for sample in samples]


def find_predictions(folder: str | os.PathLike[str], ids: Iterable[str]) -> dict[str, Path]:
    """The prediction file of every sample id.

    `a_b.png` fits the pattern `id_*.png` of sample a, but belongs to sample a_b where there is one: a file
    goes to the longest id that it fits.

    Raises:
        DataError: no such folder, or a sample with no file or with several.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; --predictions needs the folder of the label PNGs")
    wanted = list(ids)
    known = set(wanted)
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(map(Path, walk_files(str(root), []))):
        if path.suffix.lower() == ".png":
            owner = _owner(path.relative_to(root).with_suffix(""), known)
            if owner is not None:
                found[owner].append(path)
    for name in wanted:
        if len(found[name]) == 1:
            continue
        fits = f"exactly one PNG named {name}.png or {name}_*.png"
        if not found[name]:
            missing = sum(not found[other] for other in wanted)
            raise DataError(
                f"{root}: every sample needs {fits}; found none for {name} "
                f"({missing} of {len(wanted)} samples have none)"
            )
        shown = ", ".join(str(path.relative_to(root)) for path in found[name][:3])
        raise DataError(f"{root}: every sample needs {fits}; found {len(found[name])}: {shown}; keep one")
    return {name: found[name][0] for name in wanted}


def _owner(name: Path, known: set[str]) -> str | None:
    """The id that a file means: with folders before it, or the longest beginning of its name."""
    parts = [clean_id(part) for part in name.parts]
    for start in range(len(parts) - 1):
        if (joined := clean_id("__".join(parts[start:]))) in known:
            return joined
    return _longest_id(parts[-1], known)


def _longest_id(stem: str, known: set[str]) -> str | None:
    """The longest of the stem's beginnings, cut before an underscore, that is an id."""
    end = len(stem)
    while end > 0:
        if stem[:end] in known:
            return stem[:end]
        end = stem.rfind("_", 0, end)
    return None


def _recorded_classes(folder: Path, spec: DatasetSpec) -> UInt8Array | None:
    """(256,) class of every value of a prediction, as its record says; None where there is no record that does.

    Raises:
        DataError: the record names a class that the data set has not.
    """
    record = next((path for path in (folder / PREDICTION_RECORD, folder.parent / PREDICTION_RECORD) if path.is_file()),
                  None)  # fmt: skip
    if record is None:
        return None
    try:
        content = read_json(record)
    except UsageError as error:
        raise DataError(str(error)) from None
    classes = content.get("classes") if isinstance(content, dict) else None
    if not isinstance(classes, dict):
        return None
    table = np.full(256, _NO_CLASS, np.uint8)
    for value, entry in classes.items():
        name = entry.get("name") if isinstance(entry, dict) else None
        if not value.isdecimal() or int(value) > 255 or name not in spec.names:
            raise DataError(
                f"{record}: classes must lead from values of 8 bits to names of {spec.source}; found {value!r}: "
                f"{name!r}; predict with a model of these classes, or remove the record"
            )
        table[int(value)] = spec.names.index(name)
    return table


def _compared(sample: Sample, path: Path, spec: DatasetSpec, table: UInt8Array | None) -> Compared:
    label, _ = sample.read_labels(spec)
    prediction = _read_prediction(path, spec, table)
    if prediction.shape != label.shape:
        raise DataError(
            f"{path}: a prediction is as large as its label; found {_size(prediction)} (HxW) against "
            f"{_size(label)} of {sample.mask}; enlarge it by nearest neighbour, or predict at full size"
        )
    return Compared(sample.id, torch.from_numpy(prediction), torch.from_numpy(label))


def _read_prediction(path: Path, spec: DatasetSpec, table: UInt8Array | None) -> UInt8Array:
    """(H, W) uint8: a class index, or a value ≥ num_classes for what is no class."""
    raw = read_raw_mask(path)
    if table is not None:
        return np.where((raw >= 0) & (raw < 256), table[np.clip(raw, 0, 255)], _NO_CLASS).astype(np.uint8)
    if spec.label_mapping is not None and spec.masks.holds_indices:
        return map_labels(raw, spec, path)[0]
    return np.where((raw >= 0) & (raw < spec.num_classes), raw, _NO_CLASS).astype(np.uint8)


def _size(array: UInt8Array) -> str:
    return f"{array.shape[0]}x{array.shape[1]}"
