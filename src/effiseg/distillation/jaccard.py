"""Jaccard distance to the teacher's soft labels (Wang and Blaschko, NeurIPS 2023, arXiv 2302.05666)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from effiseg.distillation.term import LogitTerm, check_same_shape
from effiseg.losses.reduction import accurate


def soft_jaccard_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """1 − (‖p + q‖₁ − ‖p − q‖₁) / (‖p + q‖₁ + ‖p − q‖₁) per class over the batch, averaged over the present classes.

    p and q are softmaxes; in this form p = q gives 0 for soft labels too. A class is present if it is the teacher's
    best somewhere. Pixels whose label is ignored take part.

    Args:
        student_logits: (B, K, h, w) floating; computed in float32, or float64 if given.
        teacher_logits: (B, K, h, w), without gradient.

    Returns:
        Scalar in 0..1.
    """
    check_same_shape(student_logits, teacher_logits, "logits")
    p, q = (torch.softmax(accurate(logits), dim=1) for logits in (student_logits, teacher_logits.detach()))
    together, apart = (p + q).sum((0, 2, 3)), (p - q).abs().sum((0, 2, 3))
    present = torch.bincount(q.argmax(1).flatten(), minlength=q.shape[1]) > 0
    distance = 2 * apart / (together + apart)
    return distance[present].mean()


@dataclass(frozen=True)
class JaccardTerm(LogitTerm):
    """`soft_jaccard_loss`."""

    def loss(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """`soft_jaccard_loss`."""
        return soft_jaccard_loss(student_logits, teacher_logits)
