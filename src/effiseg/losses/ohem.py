"""Cross-entropy of the hardest pixels alone (online hard example mining, Shrivastava et al., arXiv 1604.03540)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from effiseg.losses.options import PixelOptions
from effiseg.losses.pixels import class_scores
from effiseg.losses.reduction import (
    divide_or_zero,
    read_labels,
    sum_over_processes,
    weights_for,
    weights_of_pixels,
)


def ohem_loss(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    *,
    threshold: float = 0.7,
    least: float = 1 / 16,
    pixels: PixelOptions = PixelOptions(),
) -> Tensor:
    """Σ w_y · (−log p_y) / Σ w_y over the pixels whose true class has a probability of at most `threshold`.

    Of every image at least the hardest share `least` of its labelled pixels counts, so that the loss does not die out.

    Args:
        logits: (B, K, h, w) floating; computed in float32, or float64 if given.
        target: (B, h, w) integer, 0..K-1 or `ignore_index`; (B, H, W) to `upsample`.
        class_weights: (K,) non-negative, or None for equal weights; they do not choose pixels.
        threshold: in 0..1; 1 takes all pixels, which is the cross-entropy.
        least: in 0..1.
        pixels: `ignore_index`, `upsample`, `across_processes`.

    Returns:
        Scalar; 0 with zero gradients if no pixel is labelled.

    Raises:
        UsageError: shapes do not fit, or the target is not integer.
    """
    labels = read_labels(logits, target, pixels)
    true_log_p = class_scores(logits, labels).true_log_p
    with torch.no_grad():
        ranked = true_log_p.masked_fill(~labels.valid, math.inf).flatten(1).sort(1).values
        count = (labels.valid.flatten(1).sum(1) * least).ceil().long().clamp_min(1)
        hardest = ranked.gather(1, count[:, None] - 1)[..., None]  # log p of the last one that counts in any case
        limit = hardest.clamp_min(math.log(threshold) if threshold > 0 else -math.inf)
        weights = None if class_weights is None else weights_for(class_weights, logits)
        pixel_weights = weights_of_pixels(labels, weights, logits) * (true_log_p <= limit)
    total = -(pixel_weights * true_log_p).sum()
    return divide_or_zero(*sum_over_processes(total, pixel_weights.sum(), across_processes=pixels.across_processes))
