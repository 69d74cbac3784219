"""Combo: Dice and class-weighted cross-entropy."""

from __future__ import annotations

from torch import Tensor

from effiseg.losses.dice import dice_term
from effiseg.losses.options import Averaging, PixelOptions
from effiseg.losses.pixels import class_scores, focal_losses
from effiseg.losses.reduction import (
    divide_or_zero,
    read_labels,
    sum_over_processes,
    weights_for,
    weights_of_pixels,
)


def combo_loss(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    *,
    dice_weight: float = 0.5,
    smooth: float = 1.0,
    averaging: Averaging = Averaging(),
    pixels: PixelOptions = PixelOptions(),
) -> Tensor:
    """dice_weight · Dice + (1 − dice_weight) · cross-entropy, from one log-softmax.

    Args:
        logits: (B, K, h, w) floating; computed in float32, or float64 if given.
        target: (B, h, w) integer, 0..K-1 or `ignore_index`; (B, H, W) to `upsample`.
        class_weights: (K,) weights of the cross-entropy, or None.
        dice_weight: share of Dice in 0..1.
        smooth: ε of `dice_loss`.
        averaging: of `dice_loss`.
        pixels: `ignore_index`, `upsample`, `across_processes`.

    Returns:
        Scalar; 0 with zero gradients if no pixel is labelled.

    Raises:
        UsageError: shapes do not fit, the target is not integer, or an option has no such value.
    """
    terms = combo_terms(
        logits, target, class_weights, dice_weight=dice_weight, smooth=smooth, averaging=averaging, pixels=pixels
    )
    return terms["loss"]


def combo_terms(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None,
    *,
    dice_weight: float,
    smooth: float,
    averaging: Averaging,
    pixels: PixelOptions,
) -> dict[str, Tensor]:
    """`combo_loss` as `loss`, and its parts `dice` and `cross_entropy`, unweighted; arguments as there."""
    labels = read_labels(logits, target, pixels)
    scores = class_scores(logits, labels)
    weights = None if class_weights is None else weights_for(class_weights, logits)
    dice = dice_term(scores, labels, smooth, averaging, pixels)
    pixel_weights = weights_of_pixels(labels, weights, logits)
    total = (pixel_weights * focal_losses(scores.true_log_p, gamma=0.0)).sum()
    weight = pixel_weights.sum()
    cross_entropy = divide_or_zero(*sum_over_processes(total, weight, across_processes=pixels.across_processes))
    total = dice_weight * dice + (1 - dice_weight) * cross_entropy
    return {"loss": total, "dice": dice, "cross_entropy": cross_entropy}
