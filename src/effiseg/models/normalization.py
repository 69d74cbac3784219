"""The normalizations an encoder can be built with, each with all that the rest of the product knows of it.

LayerNorm is torch's own. The others take no statistics: DyT squashes with a tanh (Zhu et al. 2025, "Transformers
without Normalization"), Derf with an erf of its own shift (arXiv 2512.10938), DyL is a plain per-channel affine map,
which folds into the next layer. All act on the last dimension and name their parameters alike: weight (γ), bias (β),
alpha (α).

At inference every norm is an affine map, a core without numbers of its own, and an affine map (`NormParts`): what
`fuse` folds. A norm that can take a LayerNorm's place also says how it is fitted to it (`DynamicNorm.follow`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import ClassVar, Literal, NamedTuple, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effiseg.config.model import Norm
from effiseg.errors import ModelError
from effiseg.models.affine import Affine, exact
from effiseg.models.curve_fits import Fit, Floats, Groups, fit_linear, fit_tanh

ALPHA_INIT = 0.5
Squash = Literal["tanh", "erf"]
Core = Literal["standardize"] | Squash


def squash(x: Tensor, function: Squash) -> Tensor:
    """The function of a core that bounds every element by itself."""
    match function:
        case "tanh":
            return torch.tanh(x)
        case "erf":
            return torch.erf(x)


class NormParts(NamedTuple):
    """γ · core(αx + s) + β as it is folded, float64 on the CPU; x without its mean over the channels where centered."""

    alpha: Tensor | None
    """(1,) or (C,), ahead of the core; None for 1."""
    core: Core | None
    """The part that is not affine; None where nothing is left."""
    weight: Tensor
    """(C,), γ."""
    bias: Tensor
    """(C,), β."""
    eps: float = 0.0
    """Of the core "standardize"."""
    offset: Tensor | None = None
    """(1,), s; None for 0."""
    centered: bool = False
    """Whether the token's mean is taken away first: the linear map I − 11ᵀ/C."""

    @property
    def before(self) -> Affine:
        """The affine map ahead of the core."""
        ones = torch.ones_like(self.weight)
        shift = None if self.offset is None else self.offset.expand_as(ones)
        scaling = Affine.diagonal(ones if self.alpha is None else self.alpha.expand_as(ones), shift)
        return scaling.after(Affine.centering(ones.numel())) if self.centered else scaling

    @property
    def after(self) -> Affine:
        """The affine map behind the core."""
        return Affine.diagonal(self.weight, self.bias)


class LayerNorm(nn.LayerNorm):
    """torch's LayerNorm over the last dimension."""

    kind: ClassVar[Norm] = "layer_norm"

    def core(self, tokens: Tensor) -> Tensor:
        """The standardized tokens (n, C), without γ and β."""
        return F.layer_norm(tokens, self.normalized_shape, eps=self.eps)

    def parts(self) -> NormParts:
        """The affine part, which `fuse` folds."""
        return NormParts(None, "standardize", exact(self.weight), exact(self.bias), self.eps)


class DynamicNorm(nn.Module, ABC):
    """Base of the norms without statistics: (..., C) to (..., C), α starts at 0.5, γ at 1, β at 0.

    Attributes:
        centered: whether the token's mean over its channels is taken away first; it folds away with the rest.
    """

    kind: ClassVar[Norm]
    bounded: ClassVar[bool]
    """Whether the core stays within -1..1, so that inputs may saturate it."""

    def __init__(self, channels: int, alphas: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((alphas,), ALPHA_INIT))
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.centered = False

    def read(self, x: Tensor) -> Tensor:
        """The input as the norm takes it: (..., C), without its mean where centered."""
        return x - x.mean(-1, keepdim=True) if self.centered else x

    @abstractmethod
    def core(self, tokens: Tensor) -> Tensor:
        """Tokens (n, C) before γ and β, and before what of α folds away with them."""

    @abstractmethod
    def parts(self) -> NormParts:
        """The affine part, which `fuse` folds."""

    @abstractmethod
    def curve(self, x: Floats, y: Floats, channels: Groups) -> tuple[Fit, float]:
        """The least-squares fit of the norm to points (x, y) of the channels, and the α that goes with its γ."""

    @torch.no_grad()
    def follow(self, inputs: Tensor, outputs: Tensor) -> Fit:
        """Take the values that lead from the inputs to the outputs with the least squared error.

        Args:
            inputs: (T, C).
            outputs: (T, C).
        """
        tokens, channels = inputs.shape
        inputs = self.read(inputs)
        x, y = (values.double().cpu().numpy().ravel() for values in (inputs, outputs))
        fit, alpha = self.curve(x, y, np.tile(np.arange(channels), tokens))
        self.alpha.fill_(alpha)
        self.weight.copy_(torch.from_numpy(fit.scale))
        self.bias.copy_(torch.from_numpy(fit.offset))
        return fit

    def extra_repr(self) -> str:
        """The width, for `print(model)`."""
        return f"{self.weight.numel()}"


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


class DynamicTanh(DynamicNorm):
    """DyT; α is a scalar."""

    kind = "dyt"
    bounded = True

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        return dynamic_tanh(self.read(x), self.alpha, self.weight, self.bias)

    def core(self, tokens: Tensor) -> Tensor:
        """tanh(αx)."""
        return squash(self.alpha * self.read(tokens), "tanh")

    def parts(self) -> NormParts:
        """The affine part, which `fuse` folds."""
        return NormParts(exact(self.alpha), "tanh", exact(self.weight), exact(self.bias), centered=self.centered)

    def curve(self, x: Floats, y: Floats, channels: Groups) -> tuple[Fit, float]:
        """The best α, and γ and β for each channel."""
        fit = fit_tanh(x, y, channels)
        assert fit.alpha is not None
        return fit, fit.alpha


class DynamicLinear(DynamicNorm):
    """DyL; α per channel."""

    kind = "dyl"
    bounded = False

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        return dynamic_linear(self.read(x), self.alpha, self.weight, self.bias)

    def core(self, tokens: Tensor) -> Tensor:
        """The tokens, all of DyL folds away."""
        return self.read(tokens)

    def parts(self) -> NormParts:
        """The affine part, which `fuse` folds."""
        return NormParts(exact(self.alpha), None, exact(self.weight), exact(self.bias), centered=self.centered)

    def curve(self, x: Floats, y: Floats, channels: Groups) -> tuple[Fit, float]:
        """A line for each channel; α keeps its start."""
        fit = fit_linear(x, y, channels)
        return replace(fit, scale=fit.scale / ALPHA_INIT), ALPHA_INIT


class DynamicErf(DynamicNorm):
    """Derf, γ·erf(αx + s) + β; α and s are scalars, s starts at 0."""

    kind = "derf"
    bounded = True

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 1)
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        return torch.addcmul(self.bias, self.weight, self.core(x))

    def core(self, tokens: Tensor) -> Tensor:
        """erf(αx + s)."""
        return squash(torch.addcmul(self.shift, self.alpha, self.read(tokens)), "erf")

    def parts(self) -> NormParts:
        """The affine part, which `fuse` folds."""
        alpha, weight, bias, shift = (exact(values) for values in (self.alpha, self.weight, self.bias, self.shift))
        return NormParts(alpha, "erf", weight, bias, offset=shift, centered=self.centered)

    def curve(self, x: Floats, y: Floats, channels: Groups) -> tuple[Fit, float]:
        """The best α, and γ and β for each channel; s keeps its start."""
        fit = fit_tanh(x, y, channels, lambda values: torch.erf(torch.from_numpy(values)).numpy())
        assert fit.alpha is not None
        return fit, fit.alpha


EncoderNorm = LayerNorm | DynamicNorm


def build_norm(kind: Norm, channels: int, eps: float = 1e-5) -> EncoderNorm:
    """The normalization named `kind` over `channels` channels; `eps` concerns LayerNorm alone.

    Raises:
        ModelError: `kind` is none of them.
    """
    match kind:
        case "layer_norm":
            return LayerNorm(channels, eps=eps)
        case "dyt":
            return DynamicTanh(channels)
        case "dyl":
            return DynamicLinear(channels)
        case "derf":
            return DynamicErf(channels)
        case _:
            raise ModelError(f"a norm must be one of {', '.join(get_args(Norm))}; found {kind!r}")
