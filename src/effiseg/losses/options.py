"""Options that losses share: which pixels count, and how sums over them become one number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Sums = Literal["batch", "image"]
Classes = Literal["present", "all"]


@dataclass(frozen=True)
class PixelOptions:
    """Which pixels a loss runs over."""

    ignore_index: int = 255
    """Label of pixels that count nowhere."""
    upsample: bool = False
    """Whether the logits are brought to the target's size first (bilinear, align_corners=False): faster than doing so
    before, and without keeping anything of that size; see `losses.pixels`."""
    across_processes: bool = False
    """Whether the loss is that of the global batch, on every process of the default group; its gradients, averaged
    over processes as DDP does, are those of one process with that batch."""


@dataclass(frozen=True)
class Averaging:
    """How the overlap of prediction and labels becomes one number."""

    sums: Sums = "batch"
    """Sums over the batch, or over each image; then images with any labelled pixel are averaged."""
    classes: Classes = "present"
    """Average over the classes that occur in the labels that are summed, or over all K. Soft Dice of an absent class is
    near 1 however small its stray probabilities are."""
