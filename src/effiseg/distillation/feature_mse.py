"""Plain feature distillation (FitNets, arXiv 1412.6550), with the teacher's channels standardized."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from effiseg.distillation.term import MapTerm, check_same_shape
from effiseg.losses.reduction import accurate


def standardized_feature_loss(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Mean squared difference to the teacher's map, each of whose channels has mean 0 and variance 1 over the batch.

    So every channel counts alike, and λ does not depend on the teacher's scale. A constant channel counts as 0.

    Args:
        student_map: (B, C, H, W) floating, projected; computed in float32, or float64 if given.
        teacher_map: (B, C, H, W), without gradient.
    """
    check_same_shape(student_map, teacher_map, "maps")
    teacher = accurate(teacher_map.detach())
    centered = teacher - teacher.mean((0, 2, 3), keepdim=True)
    variance = centered.square().mean((0, 2, 3), keepdim=True)
    return F.mse_loss(accurate(student_map), centered * variance.clamp_min(1e-12).rsqrt())


@dataclass(frozen=True)
class FeatureMseTerm(MapTerm):
    """`standardized_feature_loss` of the last two stages."""

    stage_weights: tuple[float, ...] = (0.0, 0.0, 1.0, 1.0)

    def loss(self, student_map: Tensor, teacher_map: Tensor) -> Tensor:
        """`standardized_feature_loss`."""
        return standardized_feature_loss(student_map, teacher_map)
