"""Cosine similarity guided feature distillation (CSKD), equations 5–7, for one stage."""

from __future__ import annotations

from torch import Tensor

from effiseg.errors import UsageError
from effiseg.losses.reduction import accurate

# Vectors whose lengths multiply to less have no direction that rounding has not made up.
_SHORTEST = 1e-8


def cosine_feature_loss(
    student_map: Tensor,
    teacher_map: Tensor,
    mse_weight: float = 1.0,
    cosine_weight: float = 0.5,
    detach_guidance: bool = True,
) -> Tensor:
    """λ_m · mean(G · (F^T − F^S)²) + λ_S · mean(1 − S^C) + λ_S · mean(1 − S^S), the mean over the batch.

    S^C is the cosine over channels at each position (H×W values), S^S the cosine over positions for each
    channel (C values); G = |(1 − S^C) · (1 − S^S)| at every entry (equation 6). Vectors of length zero have
    cosine 0 and no gradient through it.

    Args:
        student_map: (B, C, H, W) floating, already projected to the teacher's width; computed in float32, or
            float64 if given.
        teacher_map: (B, C, H, W), without gradient.
        mse_weight: λ_m.
        cosine_weight: λ_S.
        detach_guidance: G is a constant weight; False lets gradients flow through it.

    Returns:
        Scalar ≥ 0: the bracket of equation 7, before α_l.

    Raises:
        UsageError: the shapes differ.
    """
    if student_map.shape != teacher_map.shape or student_map.dim() != 4:
        raise UsageError(
            "feature distillation needs student and teacher maps (B, C, H, W) of the same shape, found "
            f"{tuple(student_map.shape)} and {tuple(teacher_map.shape)}; project the student to the "
            "teacher's width and give both the same image"
        )
    student, teacher = accurate(student_map), accurate(teacher_map.detach())
    products, student_squares, teacher_squares = student * teacher, student.square(), teacher.square()
    channel_gap, position_gap = (
        1 - _cosine(products.sum(dims), student_squares.sum(dims), teacher_squares.sum(dims)) for dims in ((1,), (2, 3))
    )  # 1 - S^C: (B, H, W), 1 - S^S: (B, C)
    loss = cosine_weight * (channel_gap.mean() + position_gap.mean())
    if mse_weight != 0:
        # G has rank one: weighting positions, summing them, then weighting channels never builds it.
        channel_guide, position_guide = channel_gap.abs(), position_gap.abs()
        if detach_guidance:
            channel_guide, position_guide = channel_guide.detach(), position_guide.detach()
        guided = ((student - teacher).square() * channel_guide.unsqueeze(1)).sum((2, 3))
        loss = loss + mse_weight * ((guided * position_guide).sum() / student.numel())
    return loss


def _cosine(product: Tensor, first_square: Tensor, second_square: Tensor) -> Tensor:
    """Equation 5 from the three sums; 0 without gradient where a vector has no direction."""
    lengths_squared = first_square * second_square
    undirected = lengths_squared <= _SHORTEST**2
    # Filled before the root: its infinite slope at 0 would turn the masked gradient into NaN.
    cosine = product * lengths_squared.masked_fill(undirected, 1).rsqrt()
    return cosine.masked_fill(undirected, 0)
