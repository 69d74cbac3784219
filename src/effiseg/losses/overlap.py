"""Soft overlap of prediction and labels per class: the sums that Dice and Tversky are ratios of."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from effiseg.errors import UsageError
from effiseg.losses.options import Averaging, PixelOptions
from effiseg.losses.pixels import Scores
from effiseg.losses.reduction import Labels, divide_or_zero, sum_over_processes


class Overlap(NamedTuple):
    """Sums over the pixels of a group, (G, K) each: G is 1 for the batch, B for its images."""

    intersection: Tensor
    """Σ p·g: soft true positives."""
    predicted: Tensor
    """Σ p over labelled pixels."""
    labelled: Tensor
    """Σ g: the number of pixels of the class."""


def overlap(scores: Scores, labels: Labels, averaging: Averaging, pixels: PixelOptions) -> Overlap:
    """Sum overlap per class; ignored pixels count nowhere.

    Args:
        scores: what one softmax gave.
        labels: the target they belong to.
        averaging: one group for the whole batch (and all processes), or one for each image.
        pixels: images need no summing over processes.

    Raises:
        UsageError: `sums` is neither "batch" nor "image".
    """
    true_log_p, predicted = scores
    # Scattering row by row, then summing rows: one float32 bin for half a million pixels would lose digits,
    # and on a GPU all pixels of a class would queue for one address.
    rows = (*true_log_p.shape[:2], predicted.shape[1])
    true_p = true_log_p.exp().masked_fill(~labels.valid, 0)
    intersection = true_p.new_zeros(rows).scatter_add(2, labels.class_index, true_p).sum(1)
    counts = torch.zeros(rows, dtype=torch.int64, device=predicted.device)
    labelled = counts.scatter_add_(2, labels.class_index, labels.valid.long()).sum(1)
    match averaging.sums:
        case "image":
            return Overlap(intersection, predicted, labelled.to(predicted.dtype))
        case "batch":
            parts = (part.sum(0, keepdim=True) for part in (intersection, predicted, labelled))
            return Overlap(*sum_over_processes(*parts, across_processes=pixels.across_processes))
        case _:
            raise UsageError(f"sums is 'batch' or 'image', found {averaging.sums!r}")


def overlap_ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Numerator / denominator, and 1 for 0 / 0: nothing to find, nothing found (only without smoothing)."""
    return divide_or_zero(numerator, denominator) + (denominator == 0)


def average_over_classes(losses: Tensor, labelled: Tensor, averaging: Averaging, pixels: PixelOptions) -> Tensor:
    """Average (G, K) losses over classes, then over the groups that have any labelled pixel.

    Args:
        losses: (G, K) loss of each class in each group.
        labelled: (G, K) number of labelled pixels.
        averaging: which groups these are, and over which classes to average.
        pixels: batch sums are global already, images are counted over all processes.

    Raises:
        UsageError: `classes` is neither "present" nor "all".
    """
    occupied = (labelled > 0).any(1)
    match averaging.classes:
        case "present":
            counted = labelled > 0
        case "all":
            counted = occupied.unsqueeze(1).expand_as(labelled)
        case _:
            raise UsageError(f"classes is 'present' or 'all', found {averaging.classes!r}")
    group_losses = divide_or_zero((losses * counted).sum(1), counted.sum(1))
    summed = pixels.across_processes and averaging.sums == "image"
    total, groups = sum_over_processes(group_losses.sum(), occupied.sum(), across_processes=summed)
    return divide_or_zero(total, groups)
