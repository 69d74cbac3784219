"""The shape of a network: every number its layers follow from. Named sizes are rows of one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

from effiseg.config.model import Variant
from effiseg.errors import ModelError

StageKind = Literal["attention", "conv"]
"""attention: transformer blocks. conv: inverted residual blocks, whose BatchNorms fold away."""
STAGES = 4
PATCH_SIZES = (7, 3, 3, 3)
STRIDES = (4, 2, 2, 2)
TOTAL_STRIDES = (4, 8, 16, 32)
"""Pixels of the image, along one axis, that one place of a stage's map stands for."""
OUTPUT_STRIDES = TOTAL_STRIDES[:2]
"""Pixels that one logit may stand for."""
Four = tuple[int, int, int, int]


_MOST_BLOCKS, _MOST_CHANNELS = 128, 2**14
"""Bounds of a stage: a network beyond them would be built for minutes, or overflow, before its weights are compared."""


def _are_counts(values: object, most: int) -> bool:
    """Whether it is a whole number from 1 to `most` for each stage; what a config file says may be anything."""
    return (
        isinstance(values, tuple)
        and len(values) == STAGES
        and all(type(value) is int and 1 <= value <= most for value in values)
    )


def _text(value: object) -> str:
    return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True)
class Shape:
    """The widths, depths and kinds of the four stages, and the decode head's.

    Raises:
        ModelError: numbers that make no network.
    """

    embed_dims: Four
    """Channels of the stages."""
    depths: Four
    """Blocks of the stages."""
    heads: Four = (1, 2, 5, 8)
    """Heads of the stages' attention; 1 where a stage has none."""
    reductions: Four = (8, 4, 2, 1)
    """How many times smaller, in each direction, the map of keys and values is; 1 where a stage has no attention."""
    mlp_ratios: Four = (4, 4, 4, 4)
    """Hidden channels of the stages' blocks over their width."""
    stages: tuple[StageKind, StageKind, StageKind, StageKind] = ("attention", "attention", "attention", "attention")
    """Kinds of the stages' blocks."""
    decoder_width: int = 256
    """Channels of the decode head."""
    output_stride: int = 4
    """Pixels of the image, along one axis, that one logit stands for. 4: the decode head reads the maps of all
    stages. 8: it reads those of the last three."""

    def __post_init__(self) -> None:
        for name in ("embed_dims", "depths", "heads", "reductions", "mlp_ratios"):
            most, value = _MOST_BLOCKS if name == "depths" else _MOST_CHANNELS, getattr(self, name)
            if not _are_counts(value, most):
                raise ModelError(f"{name} must be {STAGES} whole numbers from 1 to {most}; found {_text(value)}")
        if not _are_counts((self.decoder_width,) * STAGES, _MOST_CHANNELS):
            raise ModelError(
                f"decoder_width must be a whole number from 1 to {_MOST_CHANNELS}; found {self.decoder_width}"
            )
        kinds = get_args(StageKind)
        if not isinstance(self.stages, tuple) or len(self.stages) != STAGES or not set(self.stages) <= set(kinds):
            raise ModelError(f"stages must be {STAGES} of {', '.join(kinds)}; found {_text(self.stages)}")
        if self.output_stride not in OUTPUT_STRIDES:
            raise ModelError(f"output_stride must be 4 or 8; found {self.output_stride}")
        for number, (kind, width, heads, reduction) in enumerate(
            zip(self.stages, self.embed_dims, self.heads, self.reductions, strict=True), start=1
        ):
            if width % heads:
                raise ModelError(
                    f"the width of a stage must be a multiple of its heads; stage {number}: {width}, {heads}"
                )
            if kind == "conv" and (heads, reduction) != (1, 1):
                raise ModelError(
                    f"heads and reduction must be 1 in a stage without attention; stage {number}: {heads}, {reduction}"
                )

    @property
    def name(self) -> str:
        """The name of its row in `SHAPES`; of a shape that has none, what tells it from every other."""
        for variant, shape in SHAPES.items():
            if shape == self:
                return variant
        words = {field.name: _text(getattr(self, field.name)) for field in fields(self)}
        usual = {field.name: _text(field.default) for field in fields(self)}
        return ", ".join(f"{name} {text}" for name, text in words.items() if text != usual[name])

    @property
    def least_dynamic_side(self) -> int:
        """Smallest side of the input of a file of any size, pixels: below it some map that attention reads has a side
        of 1, which a captured graph takes for a broadcast."""
        strides = zip(TOTAL_STRIDES, self.reductions, strict=True)
        return 2 * max(stride * reduction for stride, reduction in strides)

    @property
    def head_stages(self) -> range:
        """The stages, from 0, whose maps the decode head reads, finest first."""
        return range(TOTAL_STRIDES.index(self.output_stride), STAGES)


_CONV_BUT_LAST: tuple[StageKind, StageKind, StageKind, StageKind] = ("conv", "conv", "conv", "attention")
SHAPES: Mapping[Variant, Shape] = {
    "n": Shape((24, 64, 128, 256), (1, 2, 3, 2), (1, 1, 1, 8), (1, 1, 1, 1), (2, 3, 4, 4), _CONV_BUT_LAST, 128, 8),
    "s": Shape((32, 64, 160, 256), (2, 3, 4, 2), (1, 1, 1, 8), (1, 1, 1, 1), (2, 4, 4, 4), _CONV_BUT_LAST, 192, 8),
    "b0": Shape((32, 64, 160, 256), (2, 2, 2, 2)),
    "b1": Shape((64, 128, 320, 512), (2, 2, 2, 2)),
    "b2": Shape((64, 128, 320, 512), (3, 4, 6, 3), decoder_width=768),
    "b3": Shape((64, 128, 320, 512), (3, 4, 18, 3), decoder_width=768),
    "b4": Shape((64, 128, 320, 512), (3, 8, 27, 3), decoder_width=768),
    "b5": Shape((64, 128, 320, 512), (3, 6, 40, 3), decoder_width=768),
}
"""The named sizes. b0 to b5 are SegFormer's (Xie et al. 2021, table 6); n and s are ours, and answer at an eighth."""


def shape_of(size: Variant | Shape) -> Shape:
    """The shape that a name stands for, or the shape itself.

    Raises:
        ModelError: no such name.
    """
    if isinstance(size, Shape):
        return size
    if size not in SHAPES:
        raise ModelError(f"variant must be one of {', '.join(SHAPES)}; found {size!r}")
    return SHAPES[size]
