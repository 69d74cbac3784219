"""Input: its size and how it is varied."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from effiseg.config.model import LARGEST_STRIDE, LONGEST_SIDE
from effiseg.config.ranges import NOT_NEGATIVE, POSITIVE, SHARE, check_ranges
from effiseg.errors import UsageError

Resize = Literal["keep_ratio", "fixed"]
PillowFilter = Literal["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]
"""Pillow's filters in the order of its numbers, which transformers' processors name them by."""
InputResize = Resize | PillowFilter
"""How images are brought to a network's input: as here, or as a processor of transformers does it, by a filter of
Pillow's to exactly that size, without padding."""
AugmentPreset = Literal["standard", "paper", "none"]


def parse_image_size(text: str, name: str = "image_size") -> tuple[int, int]:
    """(height, width) in pixels from "HxW", or of a square from its side, the value of the setting `name`.

    Raises:
        UsageError: not of these forms, or a side under 32 (the encoder's largest stride) or over 16384.
    """
    match = re.fullmatch(r"\s*(\d{1,6})\s*(?:[x×]\s*(\d{1,6})\s*)?", str(text), re.ASCII)
    if match is None:
        raise UsageError(f"{name} must be HEIGHTxWIDTH, for example 512x1024; found {text!r}")
    height, width = int(match[1]), int(match[2] or match[1])
    if min(height, width) < LARGEST_STRIDE:
        raise UsageError(
            f"{name} must be at least {LARGEST_STRIDE}x{LARGEST_STRIDE} (the encoder's largest stride); found {text}"
        )
    if max(height, width) > LONGEST_SIDE:
        raise UsageError(f"{name} must be at most {LONGEST_SIDE}x{LONGEST_SIDE}; found {text}")
    return height, width


def size_text(size: Any) -> Any:
    """(height, width) as "HEIGHTxWIDTH", the side of a square as its digits; anything else as it is."""
    if isinstance(size, tuple | list):
        return "x".join(map(str, size))
    return str(size) if isinstance(size, int) and not isinstance(size, bool) else size


@dataclass(frozen=True)
class AugmentationConfig:
    """Knobs of the training augmentation; a knob left at null takes the value of the preset `augment`."""

    scale_min: float | None = None
    """Smallest random scale, relative to the resized image."""
    scale_max: float | None = None
    """Largest random scale."""
    flip_probability: float | None = None
    """Probability of a horizontal flip."""
    shift_pixels: int | None = None
    """Largest random shift in each direction, pixels; what moves in is padding."""
    brightness: float | None = None
    """Colour jitter: factor drawn from [1 - x, 1 + x]."""
    contrast: float | None = None
    """Colour jitter: factor drawn from [1 - x, 1 + x], around the image's mean grey."""
    saturation: float | None = None
    """Colour jitter: factor drawn from [1 - x, 1 + x], towards grey."""
    hue: float | None = None
    """Colour jitter: rotation of the hue, share of a full turn drawn from [-x, x]."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "scale_min": POSITIVE,
                "scale_max": POSITIVE,
                "flip_probability": SHARE,
                "shift_pixels": NOT_NEGATIVE,
                "brightness": SHARE,
                "contrast": SHARE,
                "saturation": SHARE,
                "hue": (0, 0.5, True, True),
            },
            "augmentation.",
        )

    def filled_from(self, preset: AugmentPreset) -> AugmentationConfig:
        """The same knobs with every null replaced by the preset's value."""
        base = AUGMENTATION_PRESETS[preset]
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        filled = replace(base, **{name: value for name, value in own.items() if value is not None})
        if _number(filled.scale_min) > _number(filled.scale_max):
            raise UsageError(
                "augmentation needs scale_min <= scale_max; "
                f"found scale_min {filled.scale_min}, scale_max {filled.scale_max}"
            )
        return filled


def _number(value: float | None) -> float:
    assert value is not None
    return value


AUGMENTATION_PRESETS: dict[AugmentPreset, AugmentationConfig] = {
    "standard": AugmentationConfig(0.5, 2.0, 0.5, 0, 0.3, 0.3, 0.3, 0.03),
    "paper": AugmentationConfig(1.0, 1.0, 0.5, 2, 0.0, 0.0, 0.0, 0.0),
    "none": AugmentationConfig(1.0, 1.0, 0.0, 0, 0.0, 0.0, 0.0, 0.0),
}
