"""From the student's last stage to its first: each map is fused with what the later ones have given.

Knowledge review and TransKD's cross selective fusion differ in how the two are weighed against each other. Both are
written without batch normalization, which would need the statistics of all processes for a part that is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from effiseg.distillation.term import STAGES, Widths

WIDTH = 64
"""Channels in which maps are fused."""


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
