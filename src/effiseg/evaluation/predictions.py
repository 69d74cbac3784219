"""Scoring label PNGs that any software wrote."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.reading import map_labels, read_raw_mask
from effiseg.data.sample import Sample
from effiseg.data.samples import list_samples
from effiseg.data.transforms import UInt8Array
from effiseg.environment import available_cores
from effiseg.errors import DataError
from effiseg.evaluation.scores import ImageScore, result_of_counts, score_image
from effiseg.metrics.boundary import boundary_counts
from effiseg.metrics.confusion_matrix import confusion_counts
from effiseg.results import EvaluationResult

_NO_CLASS = 255


def evaluate_predictions(
    folder: str | os.PathLike[str],
    spec: DatasetSpec,
    split: str,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationResult:
    """Score a folder of label PNGs at the labels' original size.

    Pixels hold the values of the data set's masks: raw ids where it has a label_mapping, else class indices. Where
    its masks are no label PNGs (colours, polygons), they hold class indices.
    A value that is no class (unlisted, or mapped to ignore) is a miss on a labelled pixel.

    Args:
        folder: searched with its subfolders; the prediction of sample `id` is the one PNG named `id.png` or
            `id_*.png`. PNGs of no sample are passed over.
        spec: the data set.
        split: its split to score.
        threads: files decoded at a time; default: one a core.
        progress: called with (images done, images in all).

    Raises:
        DataError: a sample has no prediction or several, a size differs from the label's, or a file cannot be
            read; the message names it.
    """
    samples = list_samples(spec, split)
    files = find_predictions(folder, [sample.id for sample in samples])
    counts = torch.zeros(spec.num_classes, spec.num_classes + 1, dtype=torch.int64)
    near_contours = np.zeros((3, spec.num_classes), np.int64)
    scores: dict[str, ImageScore] = {}
    workers = threads or available_cores()
    window = 8 * workers  # what is decoded ahead of the count is bounded
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(samples), window):
            part = samples[start : start + window]
            counted = pool.map(lambda sample: _counts_of_file(sample, files[sample.id], spec), part)
            for sample, (image_counts, boundary) in zip(part, counted, strict=True):
                counts += image_counts
                near_contours += boundary
                scores[sample.id] = score_image(image_counts)
                if progress is not None:
                    progress(len(scores), len(samples))
    result = result_of_counts(counts, scores, spec, split, "full", near_contours)
    result.model = f"predictions in {folder}"
    return result


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


def _counts_of_file(sample: Sample, path: Path, spec: DatasetSpec) -> tuple[Tensor, npt.NDArray[np.int64]]:
    """`confusion_counts` and `boundary_counts` of one prediction."""
    label, _ = sample.read_labels(spec)
    prediction = _read_prediction(path, spec)
    if prediction.shape != label.shape:
        raise DataError(
            f"{path}: a prediction is as large as its label; found {_size(prediction)} (HxW) against "
            f"{_size(label)} of {sample.mask}; enlarge it by nearest neighbour, or predict at full size"
        )
    classes, ignored = spec.num_classes, spec.ignore_index
    counts = confusion_counts(torch.from_numpy(prediction), torch.from_numpy(label), classes, ignored)
    return counts, boundary_counts(prediction, label, classes, ignored)


def _read_prediction(path: Path, spec: DatasetSpec) -> UInt8Array:
    """(H, W) uint8: a class index, or a value ≥ num_classes for what is no class."""
    raw = read_raw_mask(path)
    if spec.label_mapping is not None and spec.masks.holds_indices:
        return map_labels(raw, spec, path)[0]
    return np.where((raw >= 0) & (raw < spec.num_classes), raw, _NO_CLASS).astype(np.uint8)


def _size(array: UInt8Array) -> str:
    return f"{array.shape[0]}x{array.shape[1]}"
