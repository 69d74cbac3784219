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
from effiseg.data.reading import map_labels, read_raw_mask
from effiseg.data.sample import Sample
from effiseg.data.transforms import UInt8Array
from effiseg.errors import DataError
from effiseg.evaluation.scores import Compared

_NO_CLASS = 255


@dataclass(frozen=True)
class PredictionFolder:
    """Label PNGs at the labels' original size.

    Pixels hold the values of the data set's masks: raw ids where it has a label_mapping, else class indices. Where
    its masks are no label PNGs (colours, polygons), they hold class indices.
    A value that is no class (unlisted, or mapped to ignore) is a miss on a labelled pixel.
    """

    path: str | os.PathLike[str]
    """Searched with its subfolders; the prediction of sample `id` is the one PNG named `id.png` or `id_*.png`. PNGs
    of no sample are passed over."""

    def comparisons(self, samples: Sequence[Sample], spec: DatasetSpec) -> list[Callable[[], Compared]]:
        """One function a sample, in their order, that reads its prediction and its label.

        Args:
            samples: of the data set.
            spec: the data set.

        Raises:
            DataError: a sample has no prediction or several; from the functions, a size differs from the label's,
                or a file cannot be read; the message names it.
        """
        files = find_predictions(self.path, [sample.id for sample in samples])
        return [partial(_compared, sample, files[sample.id], spec) for sample in samples]


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
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() == ".png" and not path.name.startswith("."):
            owner = _longest_id(path.stem, known)
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


def _longest_id(stem: str, known: set[str]) -> str | None:
    """The longest of the stem's beginnings, cut before an underscore, that is an id."""
    end = len(stem)
    while end > 0:
        if stem[:end] in known:
            return stem[:end]
        end = stem.rfind("_", 0, end)
    return None


def _compared(sample: Sample, path: Path, spec: DatasetSpec) -> Compared:
    label, _ = sample.read_labels(spec)
    prediction = _read_prediction(path, spec)
    if prediction.shape != label.shape:
        raise DataError(
            f"{path}: a prediction is as large as its label; found {_size(prediction)} (HxW) against "
            f"{_size(label)} of {sample.mask}; enlarge it by nearest neighbour, or predict at full size"
        )
    return Compared(sample.id, torch.from_numpy(prediction), torch.from_numpy(label))


def _read_prediction(path: Path, spec: DatasetSpec) -> UInt8Array:
    """(H, W) uint8: a class index, or a value ≥ num_classes for what is no class."""
    raw = read_raw_mask(path)
    if spec.label_mapping is not None and spec.masks.holds_indices:
        return map_labels(raw, spec, path)[0]
    return np.where((raw >= 0) & (raw < spec.num_classes), raw, _NO_CLASS).astype(np.uint8)


def _size(array: UInt8Array) -> str:
    return f"{array.shape[0]}x{array.shape[1]}"
