"""Soft Dice, equations 10 and 11."""

from __future__ import annotations

from torch import Tensor, nn

from effiseg.losses.overlap import Classes, Sums, average_over_classes, overlap, overlap_ratio
from effiseg.losses.pixels import Scores, class_scores
from effiseg.losses.reduction import Labels, read_labels


def dice_loss(
    logits: Tensor,
    target: Tensor,
    *,
    smooth: float = 1.0,
    sums: Sums = "batch",
    classes: Classes = "present",
    upsample: bool = False,
    ignore_index: int = 255,
    across_processes: bool = False,
) -> Tensor:
    """1 − (2 Σ p·g + ε) / (Σ p + Σ g + ε) per class (equation 10), averaged over classes (equation 11).

    Ignored pixels are in none of the three sums.

    Args:
        logits: (B, K, h, w) floating; computed in float32, or float64 if given.
        target: (B, h, w) integer, 0..K-1 or `ignore_index`; (B, H, W) to `upsample`.
        smooth: ε ≥ 0.
        sums: over the batch, or per image; then images with any labelled pixel are averaged.
        classes: average over the classes that occur in the labels that are summed, or over all K. Soft Dice
            of an absent class is near 1 however small its stray probabilities are.
        upsample: bring the logits to the target's size first; see `cross_entropy_loss`.
        ignore_index: the value of pixels that count nowhere.
        across_processes: give the loss of the global batch on every process; see `cross_entropy_loss`.

    Returns:
        Scalar in 0..1; 0 with zero gradients if no pixel is labelled.

    Raises:
        UsageError: shapes do not fit, the target is not integer, or an option has no such value.
    """
    labels = read_labels(logits, target, ignore_index, upsample=upsample)
    scores = class_scores(logits, labels)
    return dice_term(scores, labels, smooth=smooth, sums=sums, classes=classes, across_processes=across_processes)


def dice_term(
    scores: Scores,
    labels: Labels,
    *,
    smooth: float,
    sums: Sums,
    classes: Classes,
    across_processes: bool,
) -> Tensor:
    """Dice from what one softmax gave."""
    group = overlap(scores, labels, sums=sums, across_processes=across_processes)
    dice = overlap_ratio(2 * group.intersection + smooth, group.predicted + group.labelled + smooth)
    return average_over_classes(1 - dice, group.labelled, sums=sums, classes=classes, across_processes=across_processes)


class DiceLoss(nn.Module):
    """`dice_loss` with its options held."""

    def __init__(
        self,
        *,
        smooth: float = 1.0,
        sums: Sums = "batch",
        classes: Classes = "present",
        upsample: bool = False,
        ignore_index: int = 255,
        across_processes: bool = False,
    ) -> None:
        super().__init__()
        self.smooth = smooth
        self.sums: Sums = sums
        self.classes: Classes = classes
        self.upsample = upsample
        self.ignore_index = ignore_index
        self.across_processes = across_processes

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of logits (B, K, h, w) and target (B, h, w), scalar."""
        return dice_loss(
            logits,
            target,
            smooth=self.smooth,
            sums=self.sums,
            classes=self.classes,
            upsample=self.upsample,
            ignore_index=self.ignore_index,
            across_processes=self.across_processes,
        )
