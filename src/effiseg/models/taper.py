"""A norm that starts as a LayerNorm and ends as DyL or DyT (TaperNorm, arXiv 2602.10408).

y = g·LN(x) + (1 − g)·t(x), with one gate g for the whole network. For DyL, t(x) = c⊙(x − m) + β, with c = γ·r; r is a
running average of 1/σ, and m the token's own mean (centered) or a running average of it, a scalar. For DyT,
t(x) = γ·tanh(α·r·(x − m))/α + β, with α learnt and m the token's own mean or 0, for DyT has no shift inside.

At g = 1 it is the LayerNorm with the same γ and β, bit for bit; at g = 0 it is a plain DyL or DyT, whose values
`plain` gives.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from effiseg.models.mix_transformer import MixTransformer
from effiseg.models.normalization import ALPHA_INIT, DynamicLinear, DynamicTanh, dynamic_linear, dynamic_tanh

Phase = Literal["held", "tapering", "final"]


class TaperedNorm(nn.Module):
    """A LayerNorm on its way to another norm; (..., C) to (..., C).

    Args:
        final: the norm it becomes; its own values are not read.
        eps: epsilon of the LayerNorm.
        momentum: share of a pass in the running averages.

    Attributes:
        inverse_deviation, mean, passes: the running averages, and the passes behind them; float32 and in checkpoints.
    """

    inverse_deviation: Tensor
    mean: Tensor
    passes: Tensor
    gate: Tensor

    def __init__(self, final: DynamicTanh | DynamicLinear, eps: float, momentum: float) -> None:
        super().__init__()
        channels = final.weight.numel()
        self.squashes, self.centered = isinstance(final, DynamicTanh), final.centered
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        if self.squashes:
            self.alpha = nn.Parameter(torch.full((1,), ALPHA_INIT))
        self.register_buffer("inverse_deviation", torch.ones(()))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("passes", torch.zeros(()))
        # A function of the step, so checkpoints need not hold it; a tensor, so that a compiled graph need not change.
        self.register_buffer("gate", torch.ones(()), persistent=False)
        self.phase: Phase = "held"

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C); in training it also measures x until g is 0."""
        if self.phase == "final":
            return self._target(x)
        held = F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
        blended = held if self.phase == "held" else self.gate * held + (1 - self.gate) * self._target(x)
        if self.training:
            self._measure(x)
        return blended

    def set_gate(self, gate: float) -> None:
        """Set g, 0..1."""
        self.gate.fill_(gate)
        self.phase = "held" if gate == 1 else "final" if gate == 0 else "tapering"

    @property
    def statistics(self) -> tuple[Tensor, Tensor, Tensor]:
        """The buffers that are measured and not learnt."""
        return self.inverse_deviation, self.mean, self.passes

    def plain(self) -> DynamicTanh | DynamicLinear:
        """The norm it is at g = 0."""
        channels = self.weight.numel()
        final = DynamicTanh(channels) if self.squashes else DynamicLinear(channels)
        final.centered = self.centered
        final.to(self.weight.device, self.weight.dtype)
        with torch.no_grad():
            for parameter, value in zip((final.alpha, final.weight, final.bias), self._values(), strict=True):
                parameter.copy_(value)
        return final

    def _values(self) -> tuple[Tensor, Tensor, Tensor]:
        """α, γ and β of the norm at g = 0."""
        # Copies: they are measured anew, in place, before the gradient that needs them.
        scale, mean = self.inverse_deviation.clone(), self.mean.clone()
        if self.squashes:
            return self.alpha * scale, self.weight / self.alpha, self.bias
        shift = self.bias if self.centered else self.bias - self.weight * scale * mean
        return scale.expand_as(self.weight), self.weight, shift

    def _target(self, x: Tensor) -> Tensor:
        if self.centered:
            x = x - x.mean(-1, keepdim=True)
        return dynamic_tanh(x, *self._values()) if self.squashes else dynamic_linear(x, *self._values())

    @torch.no_grad()
    def _measure(self, x: Tensor) -> None:
        variance, mean = torch.var_mean(x.detach().to(self.mean.dtype), -1, correction=0)
        share = torch.clamp(1 / (self.passes + 1), min=self.momentum)  # a plain mean first, then a running one
        self.inverse_deviation.lerp_(torch.rsqrt(variance + self.eps).mean(), share)
        self.mean.lerp_(mean.mean(), share)
        self.passes += 1


def gate(step: int, total_steps: int, hold: float, until: float) -> float:
    """g in optimizer step `step` (0-based) of a run: 1, then half a cosine, then 0.

    Args:
        step: steps done before.
        total_steps: of the whole run.
        hold: share of the steps with g = 1.
        until: share of the steps after which g is 0.
    """
    done = step / total_steps
    if done <= hold:
        return 1.0
    if done >= until:
        return 0.0
    return (1 + math.cos(math.pi * (done - hold) / (until - hold))) / 2


def taper_norms(encoder: MixTransformer, *, patch: bool, block: bool, eps: float, momentum: float) -> list[TaperedNorm]:
    """Put tapered norms in the place of an encoder's DyT and DyL, in place; draws nothing.

    Args:
        encoder: its norms have not been trained.
        patch: those after the patch embeddings.
        block: all others.
        eps: epsilon of the LayerNorms they start as.
        momentum: of their running averages.
    """
    found = []
    for name, module in list(encoder.named_modules()):
        chosen = patch if name.endswith("patch_embedding.norm") else block
        if chosen and isinstance(module, DynamicTanh | DynamicLinear):
            found.append(TaperedNorm(module, eps, momentum))
            _put(encoder, name, found[-1])
    return found


def plain_norms(model: nn.Module) -> None:
    """Put in every tapered norm's place the norm it is at g = 0."""
    for name, module in list(model.named_modules()):
        if isinstance(module, TaperedNorm):
            _put(model, name, module.plain())


def tapered_norms(model: nn.Module) -> list[TaperedNorm]:
    """The tapered norms of a model, in order."""
    return [module for module in model.modules() if isinstance(module, TaperedNorm)]


def average_statistics(norms: list[TaperedNorm]) -> None:
    """Give every process of the default group the mean of what each has measured, with one all-reduce.

    Running averages are linear, so this is the running average over the global batch.
    """
    flat = torch.stack([buffer for norm in norms for buffer in norm.statistics])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    buffers = [buffer for norm in norms for buffer in norm.statistics]
    for buffer, value in zip(buffers, flat, strict=True):
        buffer.copy_(value)


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
