"""Class-weighted cross-entropy, equation 3."""

from __future__ import annotations

from torch import Tensor, nn

from effiseg.losses.reduction import (
    Labels,
    divide_or_zero,
    log_probabilities,
    read_labels,
    sum_over_processes,
    true_log_probability,
    weights_for,
)


def cross_entropy_loss(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    *,
    ignore_index: int = 255,
    across_processes: bool = False,
) -> Tensor:
    """Σ w_y · (−log p_y) / Σ w_y over the labelled pixels (equation 3; torch's weighted mean).

    Args:
        logits: (B, K, h, w) floating; computed in float32, or float64 if given.
        target: (B, h, w) integer, 0..K-1 or `ignore_index`.
        class_weights: (K,) non-negative, or None for equal weights.
        ignore_index: the value of pixels that count nowhere.
        across_processes: give the loss of the global batch on every process of the default group; its
            gradients, averaged over processes as DDP does, are those of one process with that batch.

    Returns:
        Scalar; 0 with zero gradients if no pixel is labelled.

    Raises:
        UsageError: shapes do not fit, or the target is not integer.
    """
    labels = read_labels(logits, target, ignore_index)
    log_p = log_probabilities(logits)
    weights = None if class_weights is None else weights_for(class_weights, log_p)
    return cross_entropy_term(true_log_probability(log_p, labels), labels, weights, across_processes)


def cross_entropy_term(true_log_p: Tensor, labels: Labels, weights: Tensor | None, across_processes: bool) -> Tensor:
    """Cross-entropy from the true classes' log-probabilities (B, h, w) and weights (K,)."""
    if weights is None:
        numerator, denominator = -true_log_p.sum(), labels.valid.sum()
    else:
        pixel_weights = weights[labels.class_index].masked_fill(~labels.valid, 0)
        numerator, denominator = -(pixel_weights * true_log_p).sum(), pixel_weights.sum()
    return divide_or_zero(*sum_over_processes(numerator, denominator, across_processes=across_processes))


class CrossEntropyLoss(nn.Module):
    """`cross_entropy_loss` with its options held; weights move with `.to` and stay out of the state dict."""

    class_weights: Tensor | None

    def __init__(
        self,
        class_weights: Tensor | None = None,
        *,
        ignore_index: int = 255,
        across_processes: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.ignore_index = ignore_index
        self.across_processes = across_processes

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of logits (B, K, h, w) and target (B, h, w), scalar."""
        return cross_entropy_loss(
            logits,
            target,
            self.class_weights,
            ignore_index=self.ignore_index,
            across_processes=self.across_processes,
        )
