"""Parameters, multiply-accumulates and memory traffic of a SegFormer, from its shape alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from effiseg.config.model import Norm, Variant
from effiseg.models.segformer import SegFormer
from effiseg.models.shape import PATCH_SIZES, STRIDES, Shape, shape_of

Part = Literal["stage_1", "stage_2", "stage_3", "stage_4", "linear_c", "fuse", "classifier"]
STAGES: tuple[Part, ...] = ("stage_1", "stage_2", "stage_3", "stage_4")
Kind = Literal["dense", "depthwise", "attention"]
"""How a layer multiplies; machines reach very different rates in the three."""


@dataclass(frozen=True)
class Layer:
    """The work of one layer on one image."""

    part: Part
    """Where in the network."""
    kind: Kind
    """dense: convolutions and linears; depthwise: a convolution per channel; attention: its two products."""
    macs: int
    """Multiply-accumulates."""
    activations: int
    """Numbers it must read and write, each once, if it runs by itself."""
    weights: int
    """Numbers it must read beside them, whatever the batch."""


def layers(variant: Variant | Shape, num_classes: int, image_size: tuple[int, int]) -> Iterator[Layer]:
    """Every layer that multiplies, in order, with the head as published; they do not depend on the norms.

    Args:
        variant: a named size, or a shape.
        num_classes: K.
        image_size: (height, width) of the input, at least 32×32.
    """
    shape = shape_of(variant)
    height, width = image_size
    channels_in, positions = 3, []
    for stage, (part, channels, depth) in enumerate(zip(STAGES, shape.embed_dims, shape.depths, strict=True)):
        patch, stride, reduction = PATCH_SIZES[stage], STRIDES[stage], shape.reductions[stage]
        pixels = height * width
        height, width = ((side + 2 * (patch // 2) - patch) // stride + 1 for side in (height, width))
        tokens, reduced = height * width, max(1, height // reduction) * max(1, width // reduction)
        kernel = patch**2 * channels_in * channels
        yield Layer(part, "dense", tokens * kernel, pixels * channels_in + tokens * channels, kernel)
        for _ in range(depth):
            if shape.stages[stage] == "attention":
                yield from _attention(part, channels, tokens, reduced, reduction)
            yield from _feed_forward(part, channels, tokens, shape.mlp_ratios[stage] * channels)
        positions.append(tokens)
        channels_in = channels
    read = [(shape.embed_dims[stage], positions[stage]) for stage in shape.head_stages]
    decoder, finest = shape.decoder_width, read[0][1]
    for channels, tokens in read:
        yield _linear("linear_c", tokens, channels, decoder)
    yield _linear("fuse", finest, len(read) * decoder, decoder)
    yield _linear("classifier", finest, decoder, num_classes)


def _attention(part: Part, channels: int, tokens: int, reduced: int, reduction: int) -> Iterator[Layer]:
    yield _linear(part, tokens, channels, channels)  # query
    if reduction > 1:
        kernel = (channels * reduction) ** 2
        yield Layer(part, "dense", reduced * kernel, (tokens + reduced) * channels, kernel)
    yield _linear(part, reduced, channels, channels)  # key
    yield _linear(part, reduced, channels, channels)  # value
    # The weights need not leave the processor: query, key and value are read, the result is written.
    yield Layer(part, "attention", 2 * tokens * reduced * channels, 2 * (tokens + reduced) * channels, 0)
    yield _linear(part, tokens, channels, channels)  # output


def _feed_forward(part: Part, channels: int, tokens: int, hidden: int) -> Iterator[Layer]:
    """Mix-FFN, or a block of convolutions, which multiplies as it does."""
    yield _linear(part, tokens, channels, hidden)
    yield Layer(part, "depthwise", 9 * tokens * hidden, 2 * tokens * hidden, 9 * hidden)
    yield _linear(part, tokens, hidden, channels)


def _linear(part: Part, tokens: int, channels_in: int, channels_out: int) -> Layer:
    weights = channels_in * channels_out
    return Layer(part, "dense", tokens * weights, tokens * (channels_in + channels_out), weights)


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
        """The count that counters report and the paper calls FLOPs: with the head as published, without attention."""
        return sum(self.stages) + self.linear_c + self.fuse + self.classifier

    @property
    def attention_total(self) -> int:
        """Multiply-accumulates that such counters miss: they score the fused attention as 0."""
        return sum(self.attention)

    @property
    def composed(self) -> int:
        """The work really done without attention: the composed head has no fusing convolution."""
        return self.counted - self.fuse


def count_macs(variant: Variant | Shape, num_classes: int, image_size: tuple[int, int]) -> Macs:
    """Multiply-accumulates at batch 1, part by part; arguments as for `layers`."""
    attention = dict.fromkeys(STAGES, 0)
    others: dict[Part, int] = dict.fromkeys((*STAGES, "linear_c", "fuse", "classifier"), 0)
    for layer in layers(variant, num_classes, image_size):
        sums = attention if layer.kind == "attention" else others
        sums[layer.part] += layer.macs
    return Macs(
        stages=tuple(others[stage] for stage in STAGES),
        attention=tuple(attention[stage] for stage in STAGES),
        linear_c=others["linear_c"],
        fuse=others["fuse"],
        classifier=others["classifier"],
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
    variant: Variant | Shape,
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
