"""Knowledge review (Chen et al., CVPR 2021, arXiv 2104.09044): fused maps, compared at several sizes.

As published code has it: 1×1 convolutions into the width of fusion, nearest-neighbour enlargement, two sigmoid weights
at every place, 3×3 convolutions to the teacher's widths, `hierarchical_context_loss`. Differently: 64 channels, as
TransKD has where it reviews SegFormers (the original: those of the last stage, at most 512), no batch normalization
(`fusion.py`), and the maps of the four stages alone, without a pooled vector after them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from effiseg.distillation.fusion import WIDTH, TopDownFusion, fused_context_loss
from effiseg.distillation.term import STAGES, Needs, Outputs, Term, Widths


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
        return fused_context_loss(projections["fusion"](student.features.feature_maps), teacher.features.feature_maps)
