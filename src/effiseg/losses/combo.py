"""Combo: Dice and class-weighted cross-entropy."""

from __future__ import annotations

from torch import Tensor, nn

from effiseg.losses.cross_entropy import cross_entropy_term
from effiseg.losses.dice import dice_term
from effiseg.losses.overlap import Classes, Sums
from effiseg.losses.reduction import log_probabilities, read_labels, true_log_probability, weights_for


def combo_terms(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    *,
    smooth: float = 1.0,
    sums: Sums = "batch",
    classes: Classes = "present",
    ignore_index: int = 255,
    across_processes: bool = False,
) -> tuple[Tensor, Tensor]:
    """The two parts of `combo_loss`, Dice and cross-entropy, from one log-softmax; arguments as there."""
    labels = read_labels(logits, target, ignore_index)
    log_p = log_probabilities(logits)
    true_log_p = true_log_probability(log_p, labels)
    weights = None if class_weights is None else weights_for(class_weights, log_p)
    dice = dice_term(
        log_p,
        true_log_p,
        labels,
        smooth=smooth,
        sums=sums,
        classes=classes,
        across_processes=across_processes,
    )
    cross_entropy = cross_entropy_term(true_log_p, labels, weights, across_processes)
    return dice, cross_entropy


def combo_loss(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    *,
    dice_weight: float = 0.5,
    smooth: float = 1.0,
    sums: Sums = "batch",
    classes: Classes = "present",
    ignore_index: int = 255,
    across_processes: bool = False,
) -> Tensor:
    """dice_weight · Dice + (1 − dice_weight) · cross-entropy, from one log-softmax.

    Args:
        logits: (B, K, h, w) floating; computed in float32, or float64 if given.
        target: (B, h, w) integer, 0..K-1 or `ignore_index`.
        class_weights: (K,) weights of the cross-entropy, or None.
        dice_weight: share of Dice in 0..1.
        smooth: ε of `dice_loss`.
        sums: as in `dice_loss`.
        classes: as in `dice_loss`.
        ignore_index: the value of pixels that count nowhere.
        across_processes: give the loss of the global batch on every process; see `cross_entropy_loss`.

    Returns:
        Scalar; 0 with zero gradients if no pixel is labelled.

    Raises:
        UsageError: shapes do not fit, the target is not integer, or an option has no such value.
    """
    dice, cross_entropy = combo_terms(
        logits,
        target,
        class_weights,
        smooth=smooth,
        sums=sums,
        classes=classes,
        ignore_index=ignore_index,
        across_processes=across_processes,
    )
    return dice_weight * dice + (1 - dice_weight) * cross_entropy


class ComboLoss(nn.Module):
    """`combo_loss` with its options held; weights move with `.to` and stay out of the state dict."""

    class_weights: Tensor | None

    def __init__(
        self,
        class_weights: Tensor | None = None,
        *,
        dice_weight: float = 0.5,
        smooth: float = 1.0,
        sums: Sums = "batch",
        classes: Classes = "present",
        ignore_index: int = 255,
        across_processes: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.dice_weight = dice_weight
        self.smooth = smooth
        self.sums: Sums = sums
        self.classes: Classes = classes
        self.ignore_index = ignore_index
        self.across_processes = across_processes

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of logits (B, K, h, w) and target (B, h, w), scalar."""
        return combo_loss(
            logits,
            target,
            self.class_weights,
            dice_weight=self.dice_weight,
            smooth=self.smooth,
            sums=self.sums,
            classes=self.classes,
            ignore_index=self.ignore_index,
            across_processes=self.across_processes,
        )
