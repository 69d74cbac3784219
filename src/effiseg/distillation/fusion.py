"""From the student's last stage to its first: each map is fused with what the later ones have given, then compared.

Knowledge review and TransKD's cross selective fusion differ in how the two are weighed against each other, and share
the hierarchical context loss. Their published code has a batch normalization after every convolution; here are biases
instead, because the statistics of all processes would be needed for a part that is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effiseg.distillation.term import STAGES, Widths, check_same_shape
from effiseg.losses.reduction import accurate

WIDTH = 64
"""Channels in which maps are fused: TransKD's for SegFormers, of which it reviews with the same number."""
_SIDES = (4, 2, 1)


def hierarchical_context_loss(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Mean squared differences of the maps and of their averages on 4×4, 2×2 and 1×1 cells, weighed 1, ½, ¼, ⅛.

    The weights are divided by their sum; sizes that are not smaller than the map's shorter side are left out (published
    code asks its height alone). Source: knowledge review, arXiv 2104.09044, section 3.3.

    Args:
        student_map: (B, C, H, W) floating; computed in float32, or float64 if given.
        teacher_map: (B, C, H, W), without gradient.

    Raises:
        UsageError: the shapes differ.
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


def fused_context_loss(fused: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
    """Σ `hierarchical_context_loss` over the stages, each with weight 1."""
    pairs = zip(fused, teacher_maps, strict=True)
    return torch.stack([hierarchical_context_loss(ours, theirs) for ours, theirs in pairs]).sum()


class TopDownFusion(nn.Module):
    """Four maps of the student to four of the teacher's widths.

    Args:
        widths: of both networks.
        selection: makes what fuses a stage's map with the one from above, both (B, `WIDTH`, H, W), to one of them.
    """

    def __init__(self, widths: Widths, selection: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.entries = nn.ModuleList(nn.Conv2d(width, WIDTH, 1) for width in widths.student)
        self.selections = nn.ModuleList(selection() for _ in range(STAGES - 1))
        self.exits = nn.ModuleList(nn.Conv2d(WIDTH, width, 3, padding=1) for width in widths.teacher)

    def forward(self, maps: tuple[Tensor, ...]) -> list[Tensor]:
        """Fused maps, first stage first."""
        fused: Tensor = self.entries[-1](maps[-1])
        found = [self.exits[-1](fused)]
        for stage in reversed(range(STAGES - 1)):
            own = self.entries[stage](maps[stage])
            fused = self.selections[stage](own, F.interpolate(fused, own.shape[2:], mode="nearest"))
            found.append(self.exits[stage](fused))
        return found[::-1]
