"""The optimizer, its parameter groups and the learning rate of every step."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from effiseg.config.training import OptimizerConfig


def parameter_groups(modules: Iterable[nn.Module], weight_decay: float) -> list[dict[str, object]]:
    """Trained parameters in two groups: matrices and kernels decay, everything else does not.

    A parameter decays when it has at least two dimensions, which leaves out biases, all normalizations' gains
    and shifts, and DyT's and DyL's α, whatever their names.

    Args:
        modules: modules whose parameters with `requires_grad` are trained.
        weight_decay: decay of the first group.
    """
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def build_optimizer(modules: Iterable[nn.Module], config: OptimizerConfig, *, fused: bool = True) -> torch.optim.AdamW:
    """AdamW over `parameter_groups`; `fused` is one kernel a step instead of several."""
    beta1, beta2 = config.betas
    return torch.optim.AdamW(
        parameter_groups(modules, config.weight_decay),
        lr=config.lr,
        betas=(beta1, beta2),
        eps=config.eps,
        fused=fused,
    )


def learning_rate(step: int, total_steps: int, config: OptimizerConfig) -> float:
    """Learning rate of optimizer step `step` (0-based).

    Linear warm-up from 0 over the first `warmup_ratio` of the steps, then polynomial decay that would reach 0
    at step `total_steps` (section 4.3 of the paper).
    """
    warmup = int(config.warmup_ratio * total_steps)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    left = 1 - (step - warmup) / max(1, total_steps - warmup)
    return config.lr * math.pow(left, config.power)
