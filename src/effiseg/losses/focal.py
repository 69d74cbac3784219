"""Focal loss over the softmax of all classes, equations 12 and 13."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from effiseg.errors import UsageError
from effiseg.losses.options import PixelOptions
from effiseg.losses.pixels import sum_focal_losses
from effiseg.losses.reduction import (
    divide_or_zero,
    read_labels,
    sum_over_processes,
    weights_for,
    weights_of_pixels,
)

WeightNormalization = Literal["max", "mean", "none"]


def focal_loss(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    *,
    gamma: float = 2.0,
    normalize_weights: WeightNormalization = "max",
    pixels: PixelOptions = PixelOptions(),
) -> Tensor:
    """−α_y · (1 − p_y)^γ · log p_y of the true class (equations 12, 13), averaged over the labelled pixels.

    p is the plain softmax probability; α enters as a factor only. Without weights and with γ = 0 this is the
    cross-entropy. Arguments and result as in `cross_entropy_loss`, beside:

    Args:
        logits: (B, K, h, w) floating.
        target: (B, h, w) integer.
        class_weights: (K,) non-negative, or None for α = 1.
        gamma: γ ≥ 0.
        normalize_weights: α is the weights divided by their maximum (equation 12 asks α in [0, 1]), by their
            mean, or as they are.
        pixels: which pixels.

    Raises:
        UsageError: shapes do not fit, the target is not integer, or an option has no such value.
    """
    labels = read_labels(logits, target, pixels)
    alpha = None if class_weights is None else focal_alpha(weights_for(class_weights, logits), normalize_weights)
    total = sum_focal_losses(logits, labels, weights_of_pixels(labels, alpha, logits), gamma)
    return divide_or_zero(*sum_over_processes(total, labels.valid.sum(), across_processes=pixels.across_processes))


def focal_alpha(weights: Tensor, normalize_weights: WeightNormalization) -> Tensor:
    """α of equation 12 from class weights (K,)."""
    match normalize_weights:
        case "max":
            return divide_or_zero(weights, weights.max())
        case "mean":
            return divide_or_zero(weights, weights.mean())
        case "none":
            return weights
        case _:
            raise UsageError(f"normalize_weights is 'max', 'mean' or 'none', found {normalize_weights!r}")
