"""DIST (Huang et al., NeurIPS 2022, arXiv 2205.10536): correlations in place of a divergence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from effiseg.distillation.term import LogitTerm, check_same_shape
from effiseg.losses.reduction import accurate


def correlation_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """1 − ρ of softmax outputs, per pixel over the classes, and per image and class over the pixels; the means' sum.

    Pixels whose label is ignored take part.

    Args:
        student_logits: (B, K, h, w) floating; computed in float32, or float64 if given.
        teacher_logits: (B, K, h, w), without gradient.

    Returns:
        Scalar in 0..4.
    """
    check_same_shape(student_logits, teacher_logits, "logits")
    student, teacher = (
        torch.softmax(accurate(logits), dim=1).flatten(2) for logits in (student_logits, teacher_logits.detach())
    )
    return (1 - pearson(student, teacher, 1)).mean() + (1 - pearson(student, teacher, 2)).mean()


def pearson(one: Tensor, other: Tensor, dim: int) -> Tensor:
    """Pearson's ρ along a dimension; two constant vectors have 1, one constant vector has 0, without gradient."""
    first, second = (values - values.mean(dim, keepdim=True) for values in (one, other))
    squares, constant = [], []
    for values, deviations in ((one, first), (other, second)):
        square = deviations.square().sum(dim)
        # Deviations that rounding has made are none.
        constant.append(square <= (16 * torch.finfo(values.dtype).eps) ** 2 * values.square().sum(dim))
        squares.append(square.masked_fill(constant[-1], 1))
    correlation = (first * second).sum(dim) * squares[0].rsqrt() * squares[1].rsqrt()
    return correlation.masked_fill(constant[0] | constant[1], 0).masked_fill(constant[0] & constant[1], 1)


@dataclass(frozen=True)
class DistTerm(LogitTerm):
    """`correlation_loss`."""

    def loss(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """`correlation_loss`."""
        return correlation_loss(student_logits, teacher_logits)
