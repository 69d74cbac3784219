"""Tversky (Salehi et al., arXiv 1706.05721) and focal Tversky (Abraham and Khan, arXiv 1810.07842)."""

from __future__ import annotations

import torch
from torch import Tensor

from effiseg.losses.options import Averaging, PixelOptions
from effiseg.losses.overlap import Overlap, average_over_classes, overlap, overlap_ratio
from effiseg.losses.pixels import class_scores
from effiseg.losses.reduction import read_labels


def tversky_loss(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    smooth: float = 1.0,
    averaging: Averaging = Averaging(),
    pixels: PixelOptions = PixelOptions(),
) -> Tensor:
    """1 − TI per class, averaged; TI = (TP + ε/2) / (TP + α·FP + β·FN + ε/2), with soft counts.

    With α = β = ½ this is `dice_loss`.

    Args:
        logits: (B, K, h, w) floating; computed in float32, or float64 if given.
        target: (B, h, w) integer, 0..K-1 or `ignore_index`; (B, H, W) to `upsample`.
        alpha: α ≥ 0, weight of false positives.
        beta: β ≥ 0, weight of false negatives.
        smooth: ε ≥ 0.
        averaging: of `dice_loss`.
        pixels: `ignore_index`, `upsample`, `across_processes`.

    Returns:
        Scalar in 0..1; 0 with zero gradients if no pixel is labelled.

    Raises:
        UsageError: shapes do not fit, the target is not integer, or an option has no such value.
    """
    labels = read_labels(logits, target, pixels)
    group = overlap(class_scores(logits, labels), labels, averaging, pixels)
    losses = 1 - tversky_index(group, alpha, beta, smooth)
    return average_over_classes(losses, group.labelled, averaging, pixels)


def focal_tversky_loss(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    gamma: float = 4 / 3,
    smooth: float = 1.0,
    averaging: Averaging = Averaging(),
    pixels: PixelOptions = PixelOptions(),
) -> Tensor:
    """(1 − TI)^(1/γ) per class, averaged; TI as in `tversky_loss`.

    The power has infinite slope at TI = 1. Within 10 eps of it (1e-6 in float32) a straight line takes its
    place, so that the gradient stays finite and a perfect prediction still gives 0.

    Args:
        logits: (B, K, h, w) floating; computed in float32, or float64 if given.
        target: (B, h, w) integer, 0..K-1 or `ignore_index`; (B, H, W) to `upsample`.
        alpha: α ≥ 0, weight of false positives.
        beta: β ≥ 0, weight of false negatives.
        gamma: γ > 0.
        smooth: ε ≥ 0.
        averaging: of `dice_loss`.
        pixels: `ignore_index`, `upsample`, `across_processes`.

    Returns:
        Scalar in 0..1; 0 with zero gradients if no pixel is labelled.

    Raises:
        UsageError: shapes do not fit, the target is not integer, or an option has no such value.
    """
    labels = read_labels(logits, target, pixels)
    group = overlap(class_scores(logits, labels), labels, averaging, pixels)
    missed = 1 - tversky_index(group, alpha, beta, smooth)
    exponent = 1 / gamma
    join = 10 * torch.finfo(missed.dtype).eps
    losses = torch.where(missed > join, missed.clamp_min(join) ** exponent, missed * join ** (exponent - 1))
    return average_over_classes(losses, group.labelled, averaging, pixels)


def tversky_index(group: Overlap, alpha: float, beta: float, smooth: float) -> Tensor:
    """Tversky index of each group and class, (G, K)."""
    false_positives = group.predicted - group.intersection
    false_negatives = group.labelled - group.intersection
    numerator = group.intersection + smooth / 2
    return overlap_ratio(numerator, numerator + alpha * false_positives + beta * false_negatives)
