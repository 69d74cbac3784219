"""TransKD (Liu et al., arXiv 2202.13393) without mixer and assistant: the ancestor of the paper's distillation.

Patch embedding alignment is `patch_embedding_loss` with weights 0.1, 0.1, 0.5, 1; cross selective fusion weighs the
maps of two stages against each other channel by channel, as selective kernels do, and compares them by knowledge
review's `hierarchical_context_loss`, weight 1. Width 64, and 32 for the scores, are those of its published
TransKD-Base; differently from there nothing has a batch normalization (`fusion.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from effiseg.distillation.fusion import WIDTH, TopDownFusion, fused_context_loss
from effiseg.distillation.patch_embedding import PatchEmbeddingTerm
from effiseg.distillation.term import STAGES, Needs, Outputs, Term, Widths

_ALIGNMENT = PatchEmbeddingTerm((0.1, 0.1, 0.5, 1.0))


def channel_selection(own: Tensor, above: Tensor, scores: Tensor) -> Tensor:
    """Two maps (B, C, H, W), weighed by a softmax of scores (B, 2, C) over the two."""
    weights = scores.softmax(1)[..., None, None]
    return own * weights[:, 0] + above * weights[:, 1]


class ChannelSelection(nn.Module):
    """`channel_selection` with scores from the mean of both maps over all places."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze = nn.Linear(WIDTH, WIDTH // 2)
        self.score = nn.Linear(WIDTH // 2, 2 * WIDTH)

    def forward(self, own: Tensor, above: Tensor) -> Tensor:
        """(B, C, H, W) twice to one."""
        scores = self.score(F.relu(self.squeeze((own + above).mean((2, 3)))))
        return channel_selection(own, above, scores.unflatten(1, (2, WIDTH)))


@dataclass(frozen=True)
class TransKdTerm(Term):
    """Patch embedding alignment plus `hierarchical_context_loss` of fused maps, summed over the stages."""

    @property
    def needs(self) -> Needs:
        """All maps and patch embeddings."""
        return _ALIGNMENT.needs | Needs(feature_maps=frozenset(range(STAGES)))

    def projections(self, widths: Widths) -> nn.ModuleDict:
        """The linear layers of the alignment, and the fusion."""
        return nn.ModuleDict(
            {"alignment": _ALIGNMENT.projections(widths), "fusion": TopDownFusion(widths, ChannelSelection)}
        )

    def distance(self, student: Outputs, teacher: Outputs, projections: nn.ModuleDict) -> Tensor:
        """The sum over the stages."""
        alignment, fusion = projections["alignment"], projections["fusion"]
        assert isinstance(alignment, nn.ModuleDict)
        fused = fused_context_loss(fusion(student.features.feature_maps), teacher.features.feature_maps)
        return _ALIGNMENT.distance(student, teacher, alignment) + fused
