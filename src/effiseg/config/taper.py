"""How norms turn from LayerNorms into what folds away, while training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from effiseg.config.ranges import SHARE, check_ranges
from effiseg.errors import UsageError


@dataclass
class TaperConfig:
    """A gate g blends a LayerNorm with the norm that `model` names: 1 at first, then a cosine to 0, then 0.

    At g = 1 the norm is the LayerNorm of the weights that the run starts from. The model that is written holds the
    norm that `model` names, and nothing of the LayerNorm. (TaperNorm, arXiv 2602.10408.)
    """

    norms: Literal["none", "patch", "block", "all"] = "none"
    """Which norms are tapered: those after the patch embeddings, the others, or all; `model` names dyt or dyl there."""
    hold: float = 0.25
    """Share of the steps with g = 1, in which the scale of what follows is measured."""
    until: float = 0.65
    """Share of the steps after which g is 0 and the network trains on as it will be written."""
    momentum: float = 0.01
    """Share of a pass in the running averages of 1/σ and of the mean."""

    def __post_init__(self) -> None:
        check_ranges(self, {"hold": SHARE, "until": SHARE, "momentum": (0, 1, False, True)}, "taper.")
        if not self.hold < self.until:
            raise UsageError(f"taper.hold must be less than taper.until; found {self.hold} and {self.until}")

    @property
    def patch(self) -> bool:
        """Whether the norms after the patch embeddings are tapered."""
        return self.norms in ("patch", "all")

    @property
    def block(self) -> bool:
        """Whether the other norms are tapered."""
        return self.norms in ("block", "all")
