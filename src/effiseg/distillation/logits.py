"""Distillation of the output distribution (KLKD), equation 4."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from effiseg.distillation.term import LogitTerm, check_same_shape
from effiseg.losses.reduction import accurate


def kl_distillation_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """T² · KL(teacher ‖ student) of the softmaxes of logits / T, averaged over batch and pixels.

    Equation 4 sums over pixels; the mean keeps λ_KL independent of the image size. T² keeps the gradient's
    size independent of T (Hinton et al., arXiv 1503.02531).

    Args:
        student_logits: (B, K, h, w) floating; computed in float32, or float64 if given.
        teacher_logits: (B, K, h, w), without gradient.
        temperature: T > 0.

    Returns:
        Scalar ≥ 0.

    Raises:
        UsageError: the shapes differ.
    """
    check_same_shape(student_logits, teacher_logits, "logits")
    student, teacher = accurate(student_logits), accurate(teacher_logits.detach())
    divergence = F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher / temperature, dim=1),
        reduction="sum",
        log_target=True,
    )
    pixels = student_logits.numel() // student_logits.shape[1]
    return divergence * (temperature**2 / pixels)


@dataclass(frozen=True)
class KlTerm(LogitTerm):
    """Equation 4."""

    temperature: float
    """T."""

    def loss(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """`kl_distillation_loss`."""
        return kl_distillation_loss(student_logits, teacher_logits, self.temperature)
