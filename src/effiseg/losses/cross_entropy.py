"""Class-weighted cross-entropy, equation 3."""

from __future__ import annotations

from torch import Tensor, nn

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
    upsample: bool = False,
    ignore_index: int = 255,
    across_processes: bool = False,
) -> Tensor:
    """Σ w_y · (−log p_y) / Σ w_y over the labelled pixels (equation 3; torch's weighted mean).

    Args:
        logits: (B, K, h, w) floating; computed in float32, or float64 if given.
        target: (B, h, w) integer, 0..K-1 or `ignore_index`; (B, H, W) to `upsample`.
        class_weights: (K,) non-negative, or None for equal weights.
        upsample: bring the logits to the target's size first (bilinear, align_corners=False): faster than doing
            so before, and without keeping anything of that size; see `losses.pixels`.
        ignore_index: the value of pixels that count nowhere.
        across_processes: give the loss of the global batch on every process of the default group; its
            gradients, averaged over processes as DDP does, are those of one process with that batch.

    Returns:
        Scalar; 0 with zero gradients if no pixel is labelled.

    Raises:
        UsageError: shapes do not fit, or the target is not integer.
    """
    labels = read_labels(logits, target, ignore_index, upsample=upsample)
    weights = None if class_weights is None else weights_for(class_weights, logits)
    pixel_weights = weights_of_pixels(labels, weights, logits)
    total = sum_focal_losses(logits, labels, pixel_weights, gamma=0.0)
    return divide_or_zero(*sum_over_processes(total, pixel_weights.sum(), across_processes=across_processes))


class CrossEntropyLoss(nn.Module):
    """`cross_entropy_loss` with its options held; weights move with `.to` and stay out of the state dict."""

    class_weights: Tensor | None

    def __init__(
        self,
        class_weights: Tensor | None = None,
        *,
        upsample: bool = False,
        ignore_index: int = 255,
        across_processes: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.upsample = upsample
        self.ignore_index = ignore_index
        self.across_processes = across_processes

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of logits (B, K, h, w) and target (B, h, w), scalar."""
        return cross_entropy_loss(
            logits,
            target,
            self.class_weights,
            upsample=self.upsample,
            ignore_index=self.ignore_index,
            across_processes=self.across_processes,
        )
