"""Soft Dice, equations 10 and 11."""

from __future__ import annotations

from torch import Tensor

from effiseg.losses.options import Averaging, PixelOptions
from effiseg.losses.overlap import average_over_classes, overlap, overlap_ratio
from effiseg.losses.pixels import Scores, class_scores
from effiseg.losses.reduction import Labels, read_labels


def dice_loss(
    logits: Tensor,
    target: Tensor,
    *,
    smooth: float = 1.0,
    averaging: Averaging = Averaging(),
    pixels: PixelOptions = PixelOptions(),
) -> Tensor:
    """1 − (2 Σ p·g + ε) / (Σ p + Σ g + ε) per class (equation 10), averaged over classes (equation 11).

    Ignored pixels are in none of the three sums.

    Args:
        logits: (B, K, h, w) floating; computed in float32, or float64 if given.
        target: (B, h, w) integer, 0..K-1 or `ignore_index`; (B, H, W) to `upsample`.
        smooth: ε ≥ 0.
        averaging: `sums`, `classes`.
        pixels: `ignore_index`, `upsample`, `across_processes`.

    Returns:
        Scalar in 0..1; 0 with zero gradients if no pixel is labelled.

    Raises:
        UsageError: shapes do not fit, the target is not integer, or an option has no such value.
    """
    labels = read_labels(logits, target, pixels)
    return dice_term(class_scores(logits, labels), labels, smooth, averaging, pixels)


def dice_term(scores: Scores, labels: Labels, smooth: float, averaging: Averaging, pixels: PixelOptions) -> Tensor:
    """Dice from what one softmax gave."""
    group = overlap(scores, labels, averaging, pixels)
    dice = overlap_ratio(2 * group.intersection + smooth, group.predicted + group.labelled + smooth)
    return average_over_classes(1 - dice, group.labelled, averaging, pixels)
