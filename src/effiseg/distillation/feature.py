"""Cosine similarity guided feature distillation (CSKD), equations 5–7, for one stage.

The loss needs of the two maps only sums over channels and over positions, so on the CPU it is found in one
pass over pieces that stay in the cache, and its gradient in a second one; nothing of the maps' size is made
or kept but that gradient. On other devices and under torch.compile the same is written out plainly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from effiseg.distillation.term import MapTerm, check_same_shape
from effiseg.losses.reduction import accurate

# Vectors whose lengths multiply to less have no direction that rounding has not made up.
_SHORTEST = 1e-8
# Numbers of a piece of a map: 1 MB in float32.
_PIECE_NUMBERS = 1 << 18


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
    check_same_shape(student_map, teacher_map, "maps")
    if student_map.device.type == "cpu" and not torch.compiler.is_compiling():
        options = mse_weight, cosine_weight, detach_guidance
        loss: Tensor = _CosineFeatureLoss.apply(student_map, teacher_map.detach(), *options)  # type: ignore[no-untyped-call]
        return loss
    return plain_cosine_feature_loss(student_map, teacher_map, mse_weight, cosine_weight, detach_guidance)


@dataclass(frozen=True)
class FeatureTerm(MapTerm):
    """Equation 7, with α_l as the stages' weights."""

    mse_weight: float
    """λ_m."""
    cosine_weight: float
    """λ_S."""
    detach_guidance: bool
    """Whether G is a constant weight."""

    def loss(self, student_map: Tensor, teacher_map: Tensor) -> Tensor:
        """`cosine_feature_loss`."""
        options = self.mse_weight, self.cosine_weight, self.detach_guidance
        return cosine_feature_loss(student_map, teacher_map, *options)


def plain_cosine_feature_loss(
    student_map: Tensor, teacher_map: Tensor, mse_weight: float, cosine_weight: float, detach_guidance: bool
) -> Tensor:
    """`cosine_feature_loss` as one would write it, for any device; keeps several maps for its gradient."""
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
    return product * _inverse_lengths(first_square, second_square)


def _inverse_lengths(first_square: Tensor, second_square: Tensor) -> Tensor:
    """1 / (|first| · |second|); 0 without gradient where a vector has no direction."""
    lengths_squared = first_square * second_square
    undirected = lengths_squared <= _SHORTEST**2
    # Filled before the root: its infinite slope at 0 would turn the masked gradient into NaN.
    return lengths_squared.masked_fill(undirected, 1).rsqrt().masked_fill(undirected, 0)


class _Similarity(NamedTuple):
    """Cosines of pairs of vectors and what their derivative by the student's vector s takes, of one shape each."""

    cosine: Tensor
    along_teacher: Tensor
    """dcosine/ds is this · t …"""
    along_student: Tensor
    """… + this · s."""

    @classmethod
    def of(cls, product: Tensor, student_square: Tensor, teacher_square: Tensor) -> _Similarity:
        """From <t, s>, |s|² and |t|²."""
        inverse = _inverse_lengths(student_square, teacher_square)
        cosine = product * inverse
        return cls(cosine, inverse, -cosine * inverse.square() * teacher_square)


def _pieces(student: Tensor, teacher: Tensor) -> Iterator[tuple[int, slice, Tensor, Tensor]]:
    """Image, positions, and both maps there, (positions, C) in float32 at least."""
    step = max(1, _PIECE_NUMBERS // student.shape[2])
    for image in range(student.shape[0]):
        for start in range(0, student.shape[1], step):
            positions = slice(start, min(start + step, student.shape[1]))
            yield image, positions, accurate(student[image, positions]), accurate(teacher[image, positions])


def _as_rows(feature_map: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H·W, C); a view if the map lies in channels_last memory."""
    return feature_map.permute(0, 2, 3, 1).flatten(1, 2)


def _factors(of_positions: tuple[Tensor, Tensor], of_channels: tuple[Tensor, Tensor]) -> Tensor:
    """p_n + q_c + u_n · v_c from (p, u) and (q, v): (n, C), one product of matrices of rank three."""
    (p, u), (q, v) = of_positions, of_channels
    return torch.mm(torch.stack((p, torch.ones_like(p), u), 1), torch.stack((torch.ones_like(q), q, v)))


class _CosineFeatureLoss(torch.autograd.Function):
    """`cosine_feature_loss` piece by piece."""

    @staticmethod
    def forward(
        ctx: Any,
        student_map: Tensor,
        teacher_map: Tensor,
        mse_weight: float,
        cosine_weight: float,
        detach_guidance: bool,
    ) -> Tensor:
        student, teacher = _as_rows(student_map), _as_rows(teacher_map)
        batch, count, channels = student.shape
        dtype = torch.promote_types(student.dtype, torch.float32)
        # Each <t, s>, |s|², |t|²: of positions, and of channels.
        at_positions = student.new_empty((3, batch, count), dtype=dtype)
        of_channels = student.new_zeros((3, batch, channels), dtype=dtype)
        guided = student.new_zeros((batch, channels), dtype=dtype)
        with torch.autocast("cpu", enabled=False):
            for image, positions, s, t in _pieces(student, teacher):
                for row, product in enumerate((s * t, s * s, t * t)):
                    at_positions[row, image, positions] = product.sum(1)
                    of_channels[row, image] += product.sum(0)
                if mse_weight != 0:
                    channel_gap = 1 - _cosine(*at_positions[:, image, positions].unbind())
                    guided[image] += torch.mv((s - t).square_().T, channel_gap.abs_())
        channel_similarity = _Similarity.of(*at_positions.unbind())
        position_similarity = _Similarity.of(*of_channels.unbind())
        channel_gap, position_gap = 1 - channel_similarity.cosine, 1 - position_similarity.cosine
        loss = cosine_weight * (channel_gap.mean() + position_gap.mean())
        loss = loss + mse_weight * ((guided * position_gap.abs()).sum() / student.numel())
        ctx.save_for_backward(student_map, teacher_map, guided, *channel_similarity, *position_similarity)
        ctx.options = mse_weight, cosine_weight, detach_guidance
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        (loss_gradient,) = gradients
        mse_weight, cosine_weight, detach_guidance = ctx.options
        student_map, teacher_map, guided, *similarities = ctx.saved_tensors
        at_positions, of_channels = _Similarity(*similarities[:3]), _Similarity(*similarities[3:])
        student, teacher = _as_rows(student_map), _as_rows(teacher_map)
        batch, count, channels = student.shape
        mse = loss_gradient * (mse_weight / student.numel())
        channel_gap, position_gap = 1 - at_positions.cosine, 1 - of_channels.cosine
        position_slope = (-cosine_weight / (batch * count)) * loss_gradient  # by S^C
        channel_slope = torch.full_like(position_gap, -cosine_weight / (batch * channels)) * loss_gradient  # by S^S
        if not detach_guidance:
            channel_slope -= mse * guided * position_gap.sign()
        found = torch.empty_like(student)
        with torch.autocast("cpu", enabled=False):
            for image, positions, s, t in _pieces(student, teacher):
                position_guide, channel_guide = channel_gap[image, positions].abs(), position_gap[image].abs()
                slope = position_slope.expand(len(s))
                if not detach_guidance and mse_weight != 0:
                    toward = torch.mv((s - t).square_(), channel_guide) * channel_gap[image, positions].sign()
                    slope = slope - mse * toward
                square = mse * position_guide
                for_student = _factors(
                    (slope * at_positions.along_student[image, positions], square),
                    (channel_slope[image] * of_channels.along_student[image], 2 * channel_guide),
                )
                for_teacher = _factors(
                    (slope * at_positions.along_teacher[image, positions], square),
                    (channel_slope[image] * of_channels.along_teacher[image], -2 * channel_guide),
                )
                found[image, positions] = for_student.mul_(s).addcmul_(for_teacher, t)
        gradient = found.view(batch, *student_map.shape[2:], channels).permute(0, 3, 1, 2)
        return gradient, None, None, None, None
