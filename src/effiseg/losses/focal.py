"""Focal loss over the softmax of all classes, equations 12 and 13."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from effiseg.errors import UsageError
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
    upsample: bool = False,
    ignore_index: int = 255,
    across_processes: bool = False,
) -> Tensor:
    """−α_y · (1 − p_y)^γ · log p_y of the true class (equations 12, 13), averaged over the labelled pixels.

    p is the plain softmax probability; α enters as a factor only. Without weights and with γ = 0 this is the
    cross-entropy.

    Args:
        logits: (B, K, h, w) floating; computed in float32, or float64 if given.
        target: (B, h, w) integer, 0..K-1 or `ignore_index`; (B, H, W) to `upsample`.
        class_weights: (K,) non-negative, or None for α = 1.
        gamma: γ ≥ 0.
        normalize_weights: α is the weights divided by their maximum (equation 12 asks α in [0, 1]), by their
            mean, or as they are.
        upsample: bring the logits to the target's size first; see `cross_entropy_loss`.
        ignore_index: the value of pixels that count nowhere.
        across_processes: give the loss of the global batch on every process; see `cross_entropy_loss`.

    Returns:
        Scalar; 0 with zero gradients if no pixel is labelled.

    Raises:
        UsageError: shapes do not fit, the target is not integer, or an option has no such value.
    """
    labels = read_labels(logits, target, ignore_index, upsample=upsample)
    alpha = None if class_weights is None else focal_alpha(weights_for(class_weights, logits), normalize_weights)
    total = sum_focal_losses(logits, labels, weights_of_pixels(labels, alpha, logits), gamma)
    return divide_or_zero(*sum_over_processes(total, labels.valid.sum(), across_processes=across_processes))


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


class FocalLoss(nn.Module):
    """`focal_loss` with its options held; weights move with `.to` and stay out of the state dict."""

    class_weights: Tensor | None

    def __init__(
        self,
        class_weights: Tensor | None = None,
        *,
        gamma: float = 2.0,
        normalize_weights: WeightNormalization = "max",
        upsample: bool = False,
        ignore_index: int = 255,
        across_processes: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.gamma = gamma
        self.normalize_weights: WeightNormalization = normalize_weights
        self.upsample = upsample
        self.ignore_index = ignore_index
        self.across_processes = across_processes

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of logits (B, K, h, w) and target (B, h, w), scalar."""
        return focal_loss(
            logits,
            target,
            self.class_weights,
            gamma=self.gamma,
            normalize_weights=self.normalize_weights,
            upsample=self.upsample,
            ignore_index=self.ignore_index,
            across_processes=self.across_processes,
        )
