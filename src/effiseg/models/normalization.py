"""The three normalizations an encoder can be built with, and the one place that chooses between them.

LayerNorm is torch's own. DyT and DyL take no statistics: DyT squashes with a tanh (Zhu et al. 2025,
"Transformers without Normalization"), DyL is a plain per-channel affine map, which folds into the next layer.
All act on the last dimension and name their parameters alike: weight (γ), bias (β) and alpha (α).
"""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import LayerNorm

from effiseg.config.model import Norm
from effiseg.errors import ModelError

__all__ = [
    "ALPHA_INIT",
    "DynamicLinear",
    "DynamicTanh",
    "LayerNorm",
    "build_norm",
    "dynamic_linear",
    "dynamic_tanh",
]

ALPHA_INIT = 0.5


def dynamic_tanh(x: Tensor, alpha: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """DyT: γ·tanh(αx) + β.

    Args:
        x: (..., C) float.
        alpha: (1,), α.
        weight: (C,), γ.
        bias: (C,), β.

    Returns:
        (..., C), the promoted dtype of the arguments.
    """
    return torch.addcmul(bias, weight, torch.tanh(alpha * x))


def dynamic_linear(x: Tensor, alpha: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """DyL: γ·(αx) + β.

    Args:
        x: (..., C) float.
        alpha: (C,), α.
        weight: (C,), γ.
        bias: (C,), β.

    Returns:
        (..., C), the promoted dtype of the arguments.
    """
    # γα is one scale per channel: one pass over x, and the gradients reach both factors through the product.
    return torch.addcmul(bias, x, weight * alpha)


class DynamicTanh(nn.Module):
    """DyT over the last dimension of (..., C); α is a scalar that starts at 0.5, γ at 1, β at 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((1,), ALPHA_INIT))
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        return dynamic_tanh(x, self.alpha, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The width, for `print(model)`."""
        return f"{self.weight.numel()}"


class DynamicLinear(nn.Module):
    """DyL over the last dimension of (..., C); α per channel starts at 0.5, γ at 1, β at 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((channels,), ALPHA_INIT))
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        return dynamic_linear(x, self.alpha, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The width, for `print(model)`."""
        return f"{self.weight.numel()}"


def build_norm(kind: Norm, channels: int, eps: float = 1e-5) -> nn.Module:
    """The normalization named `kind` over `channels` channels; `eps` concerns LayerNorm alone.

    Raises:
        ModelError: `kind` is none of the three.
    """
    match kind:
        case "layer_norm":
            return LayerNorm(channels, eps=eps)
        case "dyt":
            return DynamicTanh(channels)
        case "dyl":
            return DynamicLinear(channels)
        case _:
            raise ModelError(f"a norm must be one of {', '.join(get_args(Norm))}; found {kind!r}")
