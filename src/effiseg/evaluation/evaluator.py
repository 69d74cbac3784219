"""From any images→logits callable and a split to results, in a stream."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from effiseg.config.training import Protocol
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.inference.label_map import label_map
from effiseg.metrics.confusion_matrix import (
    ConfusionMatrix,
    class_iou,
    mean_accuracy,
    mean_iou,
    mean_iou_of_present,
    pixel_accuracy,
)
from effiseg.results import EvaluationResult

if TYPE_CHECKING:
    from effiseg.data.dataset import EvaluationSample

Predict = Callable[[Tensor], Tensor]
"""(B, 3, h, w) uint8 images → (B, K, ⌈h/4⌉, ⌈w/4⌉) logits, any floating dtype."""
Progress = Callable[[int], None]
"""Called with the number of images that were finished since the last call."""


def evaluate(
    predict: Predict,
    batches: Iterable[list[EvaluationSample]],
    spec: DatasetSpec,
    protocol: Protocol = "full",
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    *,
    split: str = "val",
    across_processes: bool = False,
) -> EvaluationResult:
    """Score a callable on evaluation samples.

    Memory does not depend on the number of images: a confusion matrix is counted on the device, and one
    number is kept for each image. Neighbours of equal input size share a forward pass.

    Args:
        predict: images (B, 3, h, w) uint8 RGB on `device` → logits (B, K, ⌈h/4⌉, ⌈w/4⌉).
        batches: lists of evaluation samples, each list at most one forward pass large.
        spec: the data set that the labels belong to.
        protocol: "full" brings the logits to every label's original size by one bilinear interpolation;
            "quarter" reduces the labels (nearest) to the size of the logits, as in the paper's published
            code.
        device: where `predict` wants its images.
        progress: told about finished images.
        split: name for the result.
        across_processes: add up the counts of all processes of `torch.distributed`, which must have been
            given disjoint samples.

    Returns:
        The result, with `model`, `image_size` and `resize` left for the caller to describe.
    """
    matrix = ConfusionMatrix(spec.num_classes, spec.ignore_index, device)
    image_iou: dict[str, float | None] = {}
    with torch.inference_mode():
        for samples in _equal_shapes(batches):
            images = torch.stack([sample.image for sample in samples]).to(device, non_blocking=True)
            logits = predict(images)
            assert logits.shape[:2] == (len(samples), spec.num_classes), logits.shape
            for sample, scores in zip(samples, logits, strict=True):
                prediction, target = _compared(sample, scores, protocol)
                image_iou[sample.id] = percent(mean_iou_of_present(matrix.update(prediction, target)))
            if progress is not None:
                progress(len(samples))
    counts = matrix.counts
    if across_processes:
        counts, image_iou = merge_across_processes(counts, image_iou)
    return result_of_counts(counts, image_iou, spec, split, protocol)


def result_of_counts(
    counts: Tensor,
    image_iou: dict[str, float | None],
    spec: DatasetSpec,
    split: str,
    protocol: Protocol,
) -> EvaluationResult:
    """The measures that follow from (K, K+1) int64 counts, all in percent."""
    ious = class_iou(counts).tolist()
    return EvaluationResult(
        miou=percent(mean_iou(counts)),
        class_iou={name: percent(iou) for name, iou in zip(spec.names, ious, strict=True)},
        mean_accuracy=percent(mean_accuracy(counts)),
        pixel_accuracy=percent(pixel_accuracy(counts)),
        images=len(image_iou),
        split=split,
        protocol=protocol,
        names=list(spec.names),
        confusion=counts.tolist(),
        image_iou=dict(sorted(image_iou.items())),
        dataset=spec.name,
    )


def merge_across_processes(
    counts: Tensor, image_iou: dict[str, float | None]
) -> tuple[Tensor, dict[str, float | None]]:
    """Sum of the counts and union of the images over all processes; the arguments themselves if there is one.

    Every process must call it, and every process gets the whole.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return counts, image_iou
    counts = counts.clone()
    dist.all_reduce(counts)
    parts: list[dict[str, float | None]] = [{} for _ in range(dist.get_world_size())]
    dist.all_gather_object(parts, image_iou)
    return counts, {name: iou for part in parts for name, iou in part.items()}


def percent(fraction: float) -> float | None:
    """`fraction` × 100, or None for nan, which JSON does not have."""
    return None if math.isnan(fraction) else 100 * fraction


def _equal_shapes(batches: Iterable[list[EvaluationSample]]) -> Iterator[list[EvaluationSample]]:
    for batch in batches:
        for _, samples in groupby(batch, key=lambda sample: tuple(sample.image.shape)):
            yield list(samples)


def _compared(sample: EvaluationSample, logits: Tensor, protocol: Protocol) -> tuple[Tensor, Tensor]:
    """Prediction and target of one image, both (h, w) uint8 on the device, at the protocol's size."""
    label = sample.label.to(logits.device, non_blocking=True)
    height, width = sample.valid_size
    match protocol:
        case "full":
            full_height, full_width = label.shape
            padded_height, padded_width = sample.image.shape[-2:]
            size = round(padded_height * full_height / height), round(padded_width * full_width / width)
            return label_map(logits, size, (full_height, full_width)), label
        case "quarter":
            quarter = (math.ceil(height / 4), math.ceil(width / 4))
            return logits[:, : quarter[0], : quarter[1]].argmax(0), _nearest(
                _nearest(label, (height, width)), quarter
            )


def _nearest(label: Tensor, size: tuple[int, int]) -> Tensor:
    if label.shape == size:
        return label
    return F.interpolate(label[None, None], size=size, mode="nearest")[0, 0]


def described(
    result: EvaluationResult,
    *,
    model: str,
    image_size: tuple[int, int] | None = None,
    resize: str | None = None,
) -> EvaluationResult:
    """The same result with a description of what was evaluated."""
    return replace(
        result, model=model, image_size=None if image_size is None else list(image_size), resize=resize
    )
