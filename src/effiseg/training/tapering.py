"""The norms of a run that taper: put into its network, moved along with its steps, taken out of its model."""

from __future__ import annotations

from effiseg.config.taper import TaperConfig
from effiseg.config.training import TrainConfig
from effiseg.models.segformer import SegFormer
from effiseg.models.taper import gate, taper_norms


def taper(student: SegFormer, config: TrainConfig) -> None:
    """Put tapered norms where the settings want them, in place; draws nothing."""
    taper_norms(
        student.encoder,
        patch=config.taper.patch,
        block=config.taper.block,
        eps=config.model.norm_eps,
        momentum=config.taper.momentum,
    )


def gate_of_step(step: int, total_steps: int, config: TaperConfig) -> float:
    """g in optimizer step `step` (0-based); 0 where nothing is tapered."""
    return 0.0 if config.norms == "none" else gate(step, total_steps, config.hold, config.until)
