"""Dice-Focal, equation 14."""

from __future__ import annotations

from torch import Tensor, nn

from effiseg.losses.dice import dice_term
from effiseg.losses.focal import WeightNormalization, focal_alpha
from effiseg.losses.overlap import Classes, Sums
from effiseg.losses.pixels import class_scores, focal_losses
from effiseg.losses.reduction import (
    divide_or_zero,
    read_labels,
    sum_over_processes,
    weights_for,
    weights_of_pixels,
)


def dice_focal_terms(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    *,
    gamma: float = 2.0,
    normalize_weights: WeightNormalization = "max",
    smooth: float = 1.0,
    sums: Sums = "batch",
    classes: Classes = "present",
    upsample: bool = False,
    ignore_index: int = 255,
    across_processes: bool = False,
) -> tuple[Tensor, Tensor]:
    """The two parts of `dice_focal_loss`, Dice and Focal, from one log-softmax; arguments as there."""
    labels = read_labels(logits, target, ignore_index, upsample=upsample)
    scores = class_scores(logits, labels)
    alpha = None if class_weights is None else focal_alpha(weights_for(class_weights, logits), normalize_weights)
    dice = dice_term(scores, labels, smooth=smooth, sums=sums, classes=classes, across_processes=across_processes)
    total = (weights_of_pixels(labels, alpha, logits) * focal_losses(scores.true_log_p, gamma)).sum()
    count = labels.valid.sum()
    return dice, divide_or_zero(*sum_over_processes(total, count, across_processes=across_processes))


def dice_focal_loss(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    *,
    dice_weight: float = 0.5,
    gamma: float = 2.0,
    normalize_weights: WeightNormalization = "max",
    smooth: float = 1.0,
    sums: Sums = "batch",
    classes: Classes = "present",
    upsample: bool = False,
    ignore_index: int = 255,
    across_processes: bool = False,
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
        sums: as in `dice_loss`.
        classes: as in `dice_loss`.
        upsample: bring the logits to the target's size first; see `cross_entropy_loss`.
        ignore_index: the value of pixels that count nowhere.
        across_processes: give the loss of the global batch on every process; see `cross_entropy_loss`.

    Returns:
        Scalar; 0 with zero gradients if no pixel is labelled.

    Raises:
        UsageError: shapes do not fit, the target is not integer, or an option has no such value.
    """
    dice, focal = dice_focal_terms(
        logits,
        target,
        class_weights,
        gamma=gamma,
        normalize_weights=normalize_weights,
        smooth=smooth,
        sums=sums,
        classes=classes,
        upsample=upsample,
        ignore_index=ignore_index,
        across_processes=across_processes,
    )
    return dice_weight * dice + (1 - dice_weight) * focal


class DiceFocalLoss(nn.Module):
    """`dice_focal_loss` with its options held; weights move with `.to` and stay out of the state dict."""

    class_weights: Tensor | None

    def __init__(
        self,
        class_weights: Tensor | None = None,
        *,
        dice_weight: float = 0.5,
        gamma: float = 2.0,
        normalize_weights: WeightNormalization = "max",
        smooth: float = 1.0,
        sums: Sums = "batch",
        classes: Classes = "present",
        upsample: bool = False,
        ignore_index: int = 255,
        across_processes: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.dice_weight = dice_weight
        self.gamma = gamma
        self.normalize_weights: WeightNormalization = normalize_weights
        self.smooth = smooth
        self.sums: Sums = sums
        self.classes: Classes = classes
        self.upsample = upsample
        self.ignore_index = ignore_index
        self.across_processes = across_processes

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of logits (B, K, h, w) and target (B, h, w), scalar."""
        return dice_focal_loss(
            logits,
            target,
            self.class_weights,
            dice_weight=self.dice_weight,
            gamma=self.gamma,
            normalize_weights=self.normalize_weights,
            smooth=self.smooth,
            sums=self.sums,
            classes=self.classes,
            upsample=self.upsample,
            ignore_index=self.ignore_index,
            across_processes=self.across_processes,
        )
