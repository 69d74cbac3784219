"""How images meet a network: the settings that evaluation and prediction share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from effiseg.config.data import Resize
from effiseg.config.ranges import COUNT, check_ranges
from effiseg.config.training import Device

Mode = Literal["whole", "slide"]


@dataclass(kw_only=True)
class FramingConfig:
    """Settings of what runs a network on images."""

    image_size: tuple[int, int] | None = None
    """whole: the network's input; null: the model's own. slide: size to bring images to first; null: their own."""
    resize: Resize | None = None
    """How images are brought to it; null: the model's own."""
    mode: Mode = "whole"
    """whole: bring images to the network's input. slide: keep their size, or image_size, and move a window over
    them."""
    window: tuple[int, int] | None = None
    """slide: size of the window; null: the model's input."""
    stride: int | None = None
    """slide: pixels from window to window; null: two thirds of it."""
    flip: bool = False
    """Average with the mirror image's logits; twice the work."""
    batch_size: int = 4
    """Images, or windows, of one pass."""
    device: Device = "auto"
    """auto takes a GPU where there is one; exported files run on the CPU."""

    def __post_init__(self) -> None:
        check_ranges(self, {"stride": COUNT, "batch_size": COUNT})
