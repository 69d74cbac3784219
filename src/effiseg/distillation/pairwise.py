"""Pair-wise distillation (Liu et al., CVPR 2019, arXiv 1903.04197): similarities between places of the last stage.

Patches are averaged to nodes, and the gradient flows through the vectors' lengths; the published code takes the
patches' maximum and holds the lengths constant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effiseg.distillation.term import STAGES, Needs, Outputs, Term
from effiseg.losses.reduction import accurate


def pairwise_similarity_loss(student_map: Tensor, teacher_map: Tensor, nodes: int = 1024) -> Tensor:
    """Mean squared difference between the cosine similarities of all pairs of places.

    Similarities do not depend on the width, so nothing is projected.

    Args:
        student_map: (B, C, H, W) floating; computed in float32, or float64 if given.
        teacher_map: (B, C', H, W), without gradient.
        nodes: most places; larger maps are averaged down to them.
    """
    height, width = student_map.shape[2:]
    shrink = min(1.0, math.sqrt(nodes / (height * width)))
    size = max(1, int(height * shrink)), max(1, int(width * shrink))
    with torch.autocast(student_map.device.type, enabled=False):
        student, teacher = (
            _similarities(F.adaptive_avg_pool2d(accurate(maps), size)) for maps in (student_map, teacher_map.detach())
        )
        return F.mse_loss(student, teacher)


def _similarities(maps: Tensor) -> Tensor:
    """(B, C, H, W) to the cosines of all pairs of places, (B, H·W, H·W)."""
    directions = F.normalize(maps.flatten(2), dim=1)
    return torch.bmm(directions.transpose(1, 2), directions)


@dataclass(frozen=True)
class PairwiseTerm(Term):
    """`pairwise_similarity_loss` of the last stage."""

    @property
    def needs(self) -> Needs:
        """The last stage's map."""
        return Needs(feature_maps=frozenset({STAGES - 1}))

    def distance(self, student: Outputs, teacher: Outputs, projections: nn.ModuleDict) -> Tensor:
        """`pairwise_similarity_loss`."""
        return pairwise_similarity_loss(student.features.feature_maps[-1], teacher.features.feature_maps[-1])
