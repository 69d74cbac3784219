"""The optimizer, its parameter groups and the learning rate of every step."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from effiseg.config.training import OptimizerConfig
from effiseg.models.segformer import SegFormer


def parameter_groups(
    modules: Iterable[nn.Module], weight_decay: float, head_lr_ratio: float = 1.0
) -> list[dict[str, object]]:
    """Trained parameters in two groups, matrices and kernels decay, everything else does not; twice for two rates.

    A parameter decays when it has at least two dimensions, which leaves out biases, all normalizations' gains
    and shifts, and DyT's and DyL's α, whatever their names.

    Args:
        modules: modules whose parameters with `requires_grad` are trained.
        weight_decay: decay of the first group.
        head_lr_ratio: what the learning rate of everything but SegFormers' encoders is multiplied with, the group's
            `lr_ratio`; 1 makes no groups of their own.
    """
    modules = list(modules)
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    if head_lr_ratio == 1.0:
        return _by_decay(parameters, weight_decay, 1.0)
    encoders = [module.encoder for module in modules if isinstance(module, SegFormer)]
    slow = {id(p) for encoder in encoders for p in encoder.parameters()}
    return [
        *_by_decay([p for p in parameters if id(p) in slow], weight_decay, 1.0),
        *_by_decay([p for p in parameters if id(p) not in slow], weight_decay, head_lr_ratio),
    ]


def _by_decay(parameters: list[nn.Parameter], weight_decay: float, lr_ratio: float) -> list[dict[str, object]]:
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay, "lr_ratio": lr_ratio},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0, "lr_ratio": lr_ratio},
    ]


def build_optimizer(modules: Iterable[nn.Module], config: OptimizerConfig, *, fused: bool = True) -> torch.optim.AdamW:
    """AdamW over `parameter_groups`; `fused` is one kernel a step instead of several."""
    beta1, beta2 = config.betas
    optimizer = torch.optim.AdamW(
        parameter_groups(modules, config.weight_decay, config.head_lr_ratio),
        lr=config.lr,
        betas=(beta1, beta2),
        eps=config.eps,
        fused=fused,
    )
    set_learning_rate(optimizer, config.lr)
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group the rate times its `lr_ratio`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_ratio", 1.0)  # checkpoints of earlier versions have none


def learning_rate(step: int, total_steps: int, config: OptimizerConfig) -> float:
    """Learning rate of the encoder in optimizer step `step` (0-based).

    Linear warm-up from 0 over the first `warmup_ratio` of the steps; over the last `decay_ratio` of them polynomial
    decay that would reach 0 at step `total_steps` (section 4.3 of the paper, where it fills all that the warm-up
    leaves); between both the rate is constant.
    """
    warmup = int(config.warmup_ratio * total_steps)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    decay = max(warmup, total_steps - int(config.decay_ratio * total_steps))
    left = 1 - max(0, step - decay) / max(1, total_steps - decay)
    return config.lr * math.pow(left, config.power)
