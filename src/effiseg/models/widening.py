"""A SegFormer of twice the encoder's widths that computes what the narrow one does: how B1 starts from a B0.

Every channel is doubled, side by side, so that heads keep their channels: channel c becomes 2c and 2c + 1. Where
doubled channels come in, weights are halved, so sums stay; LayerNorm's mean and variance stay too. Attention divides
scores by the root of a head's width, which grows by √2 while the sums of query times key double: queries and their
biases are divided by √2. The decode head is as wide in both; only what it takes from the stages is halved.

Twins would stay equal for ever, because they get equal gradients: a little noise on what comes in parts them.
(Net2Net, Chen et al. 2016, for a transformer.)
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from effiseg.config.model import Variant

WIDENED: dict[Variant, Variant] = {"b1": "b0"}
"""Size → the one of half its encoder widths, and of equal depths and decoder width."""
NOISE = 0.02
"""Noise on doubled incoming weights, relative to the root mean square of each tensor."""
_FIRST = "encoder.stages.0.patch_embedding.proj.weight"
_QUERY = re.compile(r"\.attention\.query\.(weight|bias)$")


def widened(weights: Mapping[str, Tensor], noise: float = NOISE, seed: int = 0) -> dict[str, Tensor]:
    """The weights of the network of twice the encoder's widths.

    Args:
        weights: of a SegFormer with LayerNorms, under our names, in float32; parts of it may be missing.
        noise: standard deviation of what is added to doubled incoming weights, relative to a tensor's root mean square;
            0: the wide network computes exactly what the narrow one does, up to rounding.
        seed: of the noise.

    Returns:
        Weights under the same names.
    """
    generator = torch.Generator().manual_seed(seed)
    return {name: _widened(name, tensor, noise, generator) for name, tensor in weights.items()}


def _widened(name: str, tensor: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    in_encoder = name.startswith("encoder.")
    wide = tensor.repeat_interleave(2, dim=0) if in_encoder else tensor
    if _QUERY.search(name):
        wide = wide / math.sqrt(2)
    depthwise = name.endswith(".dwconv.weight")
    incoming = (in_encoder and name != _FIRST and not depthwise) or name.startswith("decode_head.linear_c.")
    if tensor.ndim >= 2 and incoming:
        wide = wide.repeat_interleave(2, dim=1) / 2
        scale = noise * float(wide.square().mean().sqrt())
        wide = wide + scale * torch.randn(wide.shape, generator=generator)
    return wide.contiguous()
