"""Parameters and multiply-accumulates of a SegFormer, from its shape alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from effiseg.config.model import Norm, Variant
from effiseg.models.mix_transformer import ENCODER_SIZES, MLP_RATIO, PATCH_SIZES, REDUCTIONS, STRIDES
from effiseg.models.segformer import DECODER_WIDTHS, SegFormer


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of one image through convolutions, linears and attention products.

    Norms, activations, residual sums and interpolation are not among them.
    """

    stages: tuple[int, ...]
    """Convolutions and linears of the four encoder stages."""
    attention: tuple[int, ...]
    """The two products of attention, query·key and weights·value, of the four stages."""
    linear_c: int
    """The head's linears, one a stage."""
    fuse: int
    """The head's fusing convolution over the concatenated maps."""
    classifier: int
    """The head's last convolution."""

    @property
    def counted(self) -> int:
        """What counters report and the paper calls FLOPs: with the head as published, without attention."""
        return sum(self.stages) + self.linear_c + self.fuse + self.classifier

    @property
    def attention_total(self) -> int:
        """What such counters miss: they score the fused attention as 0."""
        return sum(self.attention)

    @property
    def composed(self) -> int:
        """What is really computed without attention: the composed head has no fusing convolution."""
        return self.counted - self.fuse


def count_macs(variant: Variant, num_classes: int, image_size: tuple[int, int]) -> Macs:
    """Multiply-accumulates at batch 1; they do not depend on the norms.

    Args:
        variant: "b0" to "b5".
        num_classes: K.
        image_size: (height, width) of the input, at least 32×32.
    """
    size = ENCODER_SIZES[variant]
    height, width = image_size
    channels_in, stages, attention, positions = 3, [], [], []
    for stage, (channels, depth) in enumerate(zip(size.embed_dims, size.depths, strict=True)):
        patch, stride, reduction = PATCH_SIZES[stage], STRIDES[stage], REDUCTIONS[stage]
        height, width = ((side + 2 * (patch // 2) - patch) // stride + 1 for side in (height, width))
        tokens = height * width
        reduced = (height // reduction) * (width // reduction)
        hidden = MLP_RATIO * channels
        projections = 2 * tokens * channels**2 + 2 * reduced * channels**2  # query, output; key, value
        if reduction > 1:
            projections += reduced * (channels * reduction) ** 2
        feed_forward = tokens * hidden * (2 * channels + 9)  # two linears, a 3×3 depthwise convolution
        stages.append(tokens * patch**2 * channels_in * channels + depth * (projections + feed_forward))
        attention.append(depth * 2 * tokens * reduced * channels)
        positions.append(tokens)
        channels_in = channels
    decoder = DECODER_WIDTHS[variant]
    return Macs(
        stages=tuple(stages),
        attention=tuple(attention),
        linear_c=decoder * sum(c * n for c, n in zip(size.embed_dims, positions, strict=True)),
        fuse=len(positions) * decoder**2 * positions[0],
        classifier=decoder * num_classes * positions[0],
    )


@dataclass(frozen=True)
class Complexity:
    """A model's size and work, as they stand in a table."""

    params: int
    """Trainable numbers; the BatchNorm's running statistics are not among them."""
    gmacs: float
    """`Macs.counted`, 10⁹."""
    gmacs_attention: float
    """`Macs.attention_total`, 10⁹."""
    gmacs_composed: float
    """`Macs.composed`, 10⁹."""


def complexity(
    variant: Variant,
    num_classes: int,
    image_size: tuple[int, int],
    patch_norm: Norm = "layer_norm",
    block_norm: Norm = "layer_norm",
) -> Complexity:
    """Parameters, and multiply-accumulates of one image of `image_size` (height, width)."""
    with torch.device("meta"):
        model = SegFormer(variant, num_classes, patch_norm, block_norm)
    macs = count_macs(variant, num_classes, image_size)
    return Complexity(
        params=sum(parameter.numel() for parameter in model.parameters()),
        gmacs=macs.counted / 1e9,
        gmacs_attention=macs.attention_total / 1e9,
        gmacs_composed=macs.composed / 1e9,
    )
