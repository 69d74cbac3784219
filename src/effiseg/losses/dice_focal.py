"""Dice-Focal, equation 14."""

from __future__ import annotations

from torch import Tensor

from effiseg.losses.dice import dice_term
from effiseg.losses.focal import WeightNormalization, focal_alpha
from effiseg.losses.options import Averaging, PixelOptions
from effiseg.losses.pixels import class_scores, focal_losses
from effiseg.losses.reduction import (
    divide_or_zero,
    read_labels,
    sum_over_processes,
    weights_for,
    weights_of_pixels,
)


def dice_focal_loss(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    *,
    dice_weight: float = 0.5,
    gamma: float = 2.0,
    normalize_weights: WeightNormalization = "max",
    smooth: float = 1.0,
    averaging: Averaging = Averaging(),
    pixels: PixelOptions = PixelOptions(),
) -> Tensor:
    """λ_dice · Dice + (1 − λ_dice) · Focal (equation 14), from one log-softmax.

    Args:
        logits: (B, K, h, w) floating; computed in float32, or float64 if given.
        target: (B, h, w) integer, 0..K-1 or `ignore_index`; (B, H, W) to `upsample`.
        class_weights: (K,), α of the focal term before normalization, or None.
        dice_weight: λ_dice in 0..1.
        gamma: γ of `focal_loss`.
        normalize_weights: as in `focal_loss`.
        smooth: ε of `dice_loss`.
        averaging: of `dice_loss`.
        pixels: `ignore_index`, `upsample`, `across_processes`.

    Returns:
        Scalar; 0 with zero gradients if no pixel is labelled.

    Raises:
        UsageError: shapes do not fit, the target is not integer, or an option has no such value.
    """
    terms = dice_focal_terms(
        logits,
        target,
        class_weights,
        dice_weight=dice_weight,
        gamma=gamma,
        normalize_weights=normalize_weights,
        smooth=smooth,
        averaging=averaging,
        pixels=pixels,
    )
    return terms["loss"]


def dice_focal_terms(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None,
    *,
    dice_weight: float,
    gamma: float,
    normalize_weights: WeightNormalization,
    smooth: float,
    averaging: Averaging,
    pixels: PixelOptions,
) -> dict[str, Tensor]:
    """`dice_focal_loss` as `loss`, and its parts `dice` and `focal`, unweighted; arguments as there."""
    labels = read_labels(logits, target, pixels)
    scores = class_scores(logits, labels)
    alpha = None if class_weights is None else focal_alpha(weights_for(class_weights, logits), normalize_weights)
    dice = dice_term(scores, labels, smooth, averaging, pixels)
    total = (weights_of_pixels(labels, alpha, logits) * focal_losses(scores.true_log_p, gamma)).sum()
    count = labels.valid.sum()
    focal = divide_or_zero(*sum_over_processes(total, count, across_processes=pixels.across_processes))
    return {"loss": dice_weight * dice + (1 - dice_weight) * focal, "dice": dice, "focal": focal}
