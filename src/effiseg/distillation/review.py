"""Knowledge review (Chen et al., CVPR 2021, arXiv 2104.09044): fused maps, compared at several sizes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effiseg.distillation.fusion import WIDTH, TopDownFusion
from effiseg.distillation.term import STAGES, Needs, Outputs, Term, Widths, check_same_shape
from effiseg.losses.reduction import accurate

_SIDES = (4, 2, 1)


def hierarchical_context_loss(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Mean squared differences of the maps and of their averages on 4×4, 2×2 and 1×1 cells, weighed 1, ½, ¼, ⅛.

    The weights are divided by their sum; sizes that are not smaller than the map are left out.

    Args:
        student_map: (B, C, H, W) floating; computed in float32, or float64 if given.
        teacher_map: (B, C, H, W), without gradient.
    """
    check_same_shape(student_map, teacher_map, "maps")
    # The average is linear: one of the difference does for both.
    difference = accurate(student_map) - accurate(teacher_map.detach())
    losses, weights = [difference.square().mean()], [1.0]
    for side in _SIDES:
        if side < min(difference.shape[2:]):
            weights.append(weights[-1] / 2)
            losses.append(weights[-1] * F.adaptive_avg_pool2d(difference, side).square().mean())
    return torch.stack(losses).sum() / sum(weights)


class PlaceSelection(nn.Module):
    """Weighs two maps against each other at every place."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(2 * WIDTH, 2, 1)

    def forward(self, own: Tensor, above: Tensor) -> Tensor:
        """(B, C, H, W) twice to one."""
        weights = torch.sigmoid(self.weigh(torch.cat((own, above), 1)))
        return own * weights[:, :1] + above * weights[:, 1:]


@dataclass(frozen=True)
class ReviewTerm(Term):
    """Σ `hierarchical_context_loss` over the stages, of fused maps."""

    @property
    def needs(self) -> Needs:
        """All maps."""
        return Needs(feature_maps=frozenset(range(STAGES)))

    def projections(self, widths: Widths) -> nn.ModuleDict:
        """The fusion."""
        return nn.ModuleDict({"fusion": TopDownFusion(widths, PlaceSelection)})

    def distance(self, student: Outputs, teacher: Outputs, projections: nn.ModuleDict) -> Tensor:
        """The sum over the stages."""
        fused = projections["fusion"](student.features.feature_maps)
        pairs = zip(fused, teacher.features.feature_maps, strict=True)
        return torch.stack([hierarchical_context_loss(ours, theirs) for ours, theirs in pairs]).sum()
