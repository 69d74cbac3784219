"""Combo: Dice, or soft Jaccard, and class-weighted cross-entropy."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from effiseg.losses.dice import dice_term
from effiseg.losses.options import Averaging, PixelOptions
from effiseg.losses.overlap import average_over_classes, overlap
from effiseg.losses.pixels import class_scores, focal_losses
from effiseg.losses.reduction import (
    divide_or_zero,
    read_labels,
    sum_over_processes,
    weights_for,
    weights_of_pixels,
)
from effiseg.losses.tversky import tversky_index

OverlapName = Literal["dice", "jaccard"]


def combo_loss(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    *,
    dice_weight: float = 0.5,
    overlap_name: OverlapName = "dice",
    smooth: float = 1.0,
    averaging: Averaging = Averaging(),
    pixels: PixelOptions = PixelOptions(),
) -> Tensor:
    """dice_weight · Dice + (1 − dice_weight) · cross-entropy, from one log-softmax.

    Soft Jaccard, in Dice's place, is Tversky with α = β = 1; of hard labels it is the L1 form, arXiv 2302.05666.

    Args:
        logits: (B, K, h, w) floating; computed in float32, or float64 if given.
        target: (B, h, w) integer, 0..K-1 or `ignore_index`; (B, H, W) to `upsample`.
        class_weights: (K,) weights of the cross-entropy, or None.
        dice_weight: share of Dice in 0..1.
        overlap_name: "jaccard" takes soft Jaccard in Dice's place.
        smooth: ε of `dice_loss`.
        averaging: of `dice_loss`.
        pixels: `ignore_index`, `upsample`, `across_processes`.

    Returns:
        Scalar; 0 with zero gradients if no pixel is labelled.

    Raises:
        UsageError: shapes do not fit, the target is not integer, or an option has no such value.
    """
    terms = combo_terms(
        logits,
        target,
        class_weights,
        dice_weight=dice_weight,
        overlap_name=overlap_name,
        smooth=smooth,
        averaging=averaging,
        pixels=pixels,
    )
    return terms["loss"]


def combo_terms(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None,
    *,
    dice_weight: float,
    overlap_name: OverlapName = "dice",
    smooth: float,
    averaging: Averaging,
    pixels: PixelOptions,
) -> dict[str, Tensor]:
    """`combo_loss` as `loss`, and its parts, `dice` or `jaccard` and `cross_entropy`; arguments as there."""
    labels = read_labels(logits, target, pixels)
    scores = class_scores(logits, labels)
    weights = None if class_weights is None else weights_for(class_weights, logits)
    if overlap_name == "dice":
        first = dice_term(scores, labels, smooth, averaging, pixels)
    else:
        group = overlap(scores, labels, averaging, pixels)
        first = average_over_classes(1 - tversky_index(group, 1, 1, smooth), group.labelled, averaging, pixels)
    pixel_weights = weights_of_pixels(labels, weights, logits)
    total = (pixel_weights * focal_losses(scores.true_log_p, gamma=0.0)).sum()
    weight = pixel_weights.sum()
    cross_entropy = divide_or_zero(*sum_over_processes(total, weight, across_processes=pixels.across_processes))
    total = dice_weight * first + (1 - dice_weight) * cross_entropy
    return {"loss": total, overlap_name: first, "cross_entropy": cross_entropy}
