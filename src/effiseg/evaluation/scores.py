"""From counts of pixels to the measures of a split and of its images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor

from effiseg.config.training import Protocol
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.metrics.bootstrap import miou_interval
from effiseg.metrics.confusion_matrix import (
    class_counts,
    class_iou,
    mean_accuracy,
    mean_iou,
    mean_iou_of_present,
    pixel_accuracy,
)
from effiseg.results import EvaluationResult

ImageScore = tuple[float | None, list[list[int]]]
"""The record of one image: mean IoU over its classes in percent, and its class counts (3, K)."""


class Compared(NamedTuple):
    """A sample's prediction beside its label."""

    id: str
    """The sample's id."""
    prediction: Tensor
    """(h, w) uint8 classes; a value from K on is no class."""
    target: Tensor
    """(h, w) uint8: class index or ignore_index."""


@dataclass
class SplitCounts:
    """Everything that is counted of a split, or of a part of one; on the CPU."""

    pixels: Tensor
    """(K, K+1) int64 confusion matrix; see `confusion_counts`."""
    images: dict[str, ImageScore]
    """Sample id → what is kept of the image."""
    near_contours: npt.NDArray[np.int64]
    """(3, K) sums of `boundary_counts`; zeros where contours are not counted."""

    @staticmethod
    def none(num_classes: int) -> SplitCounts:
        """The counts of no image."""
        pixels = torch.zeros((num_classes, num_classes + 1), dtype=torch.int64)
        return SplitCounts(pixels, {}, np.zeros((3, num_classes), np.int64))

    def add(self, part: SplitCounts) -> None:
        """Add the counts of other images of the split."""
        self.pixels += part.pixels
        self.images |= part.images
        self.near_contours += part.near_contours


def result_of_counts(
    counted: SplitCounts, spec: DatasetSpec, split: str, protocol: Protocol, *, boundary: bool = False
) -> EvaluationResult:
    """The measures that follow from the counts of a split, all in percent.

    Args:
        counted: of the split.
        spec: the data set.
        split: name for the result.
        protocol: name for the result.
        boundary: whether contours were counted; else there is no boundary IoU.
    """
    counts, scores = counted.pixels, counted.images
    ious = class_iou(counts).tolist()
    result = EvaluationResult(
        miou=percent(mean_iou(counts)),
        class_iou={name: percent(iou) for name, iou in zip(spec.names, ious, strict=True)},
        mean_accuracy=percent(mean_accuracy(counts)),
        pixel_accuracy=percent(pixel_accuracy(counts)),
        images=len(scores),
        split=split,
        protocol=protocol,
        names=list(spec.names),
        confusion=counts.tolist(),
        image_iou={name: iou for name, (iou, _) in sorted(scores.items())},
        image_counts={name: rows for name, (_, rows) in sorted(scores.items())},
        dataset=spec.name,
    )
    interval = miou_interval(result)
    result.miou_interval = None if interval is None else list(interval)
    if boundary:
        both, truth, found = counted.near_contours
        union = truth + found - both
        shares = [
            100 * part / whole if whole else None for part, whole in zip(both.tolist(), union.tolist(), strict=True)
        ]
        there = [share for share in shares if share is not None]
        result.boundary_iou = dict(zip(spec.names, shares, strict=True))
        result.boundary_miou = sum(there) / len(there) if there else None
    return result


def score_image(counts: Tensor) -> ImageScore:
    """The record of one image with these (K, K+1) counts."""
    return percent(mean_iou_of_present(counts)), class_counts(counts).tolist()


def merge_across_processes(counted: SplitCounts) -> SplitCounts:
    """Sum of the counts of all processes of `torch.distributed`; the argument itself if there is one.

    Every process must call it, and every process gets the whole.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return counted
    parts = [counted] * dist.get_world_size()
    dist.all_gather_object(parts, counted)
    whole = SplitCounts.none(len(counted.pixels))
    for part in parts:
        whole.add(part)
    return whole


def percent(fraction: float) -> float | None:
    """`fraction` × 100, or None for nan, which JSON does not have."""
    return None if math.isnan(fraction) else 100 * fraction
