"""Class-weighted cross-entropy, equation 3."""

from __future__ import annotations

from torch import Tensor

from effiseg.losses.options import PixelOptions
from effiseg.losses.pixels import sum_focal_losses
from effiseg.losses.reduction import (
    divide_or_zero,
    read_labels,
    sum_over_processes,
    weights_for,
    weights_of_pixels,
)


def cross_entropy_loss(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    *,
    pixels: PixelOptions = PixelOptions(),
) -> Tensor:
    """Σ w_y · (−log p_y) / Σ w_y over the labelled pixels (equation 3; torch's weighted mean).

    Args:
        logits: (B, K, h, w) floating; computed in float32, or float64 if given.
        target: (B, h, w) integer, 0..K-1 or `ignore_index`; (B, H, W) to `upsample`.
        class_weights: (K,) non-negative, or None for equal weights.
        pixels: `ignore_index`, `upsample`, `across_processes`.

    Returns:
        Scalar; 0 with zero gradients if no pixel is labelled.

    Raises:
        UsageError: shapes do not fit, or the target is not integer.
    """
    labels = read_labels(logits, target, pixels)
    weights = None if class_weights is None else weights_for(class_weights, logits)
    pixel_weights = weights_of_pixels(labels, weights, logits)
    total = sum_focal_losses(logits, labels, pixel_weights, gamma=0.0)
    return divide_or_zero(*sum_over_processes(total, pixel_weights.sum(), across_processes=pixels.across_processes))
