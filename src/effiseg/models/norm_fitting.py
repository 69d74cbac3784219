"""DyT and DyL in place of LayerNorms that were trained: the values that follow them best on some images."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from effiseg.models.curve_fits import Fit, fit_linear, fit_tanh
from effiseg.models.normalization import ALPHA_INIT, DynamicLinear, DynamicTanh, LayerNorm
from effiseg.models.segformer import SegFormer

ELEMENTS = 65_536
"""Elements (token, channel) of each norm that are fitted, over all images; at least `TOKENS_LEAST` tokens."""
TOKENS_LEAST = 128


@torch.no_grad()
def fit_norms(student: SegFormer, reference: SegFormer, images: Tensor) -> dict[str, float]:
    """Set every DyT and DyL of the student so that it gives what the reference's LayerNorm in its place gives.

    Both see the same images. Norms are set in the order in which they run, each by least squares from what reaches it
    behind the norms that are already set to what the LayerNorm gives in the reference, so that a later norm makes up
    for what an earlier one could not follow. DyL gets a slope and an offset for each channel and keeps α at 0.5; DyT
    gets the best α, and γ and β for each channel. No random number is drawn.

    Args:
        student: its other weights in the encoder are the reference's; in evaluation mode.
        reference: the network with LayerNorms, on the same device; in evaluation mode.
        images: (B, 3, H, W) normalized float.

    Returns:
        Name of each norm that was set → R² of the fit, 0..1.
    """
    replaced = {
        name: module
        for name, module in student.named_modules()
        if isinstance(module, DynamicTanh | DynamicLinear) and isinstance(reference.get_submodule(name), LayerNorm)
    }
    wanted: dict[str, Tensor] = {}
    found: dict[str, float] = {}

    def keep(name: str, _: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        wanted[name] = _some_tokens(output)

    def fit(name: str, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        assert isinstance(module, DynamicTanh | DynamicLinear)
        found[name] = set_norm(module, _some_tokens(arguments[0]), wanted.pop(name)).r2

    with ExitStack() as hooks:
        for name in replaced:
            hook = reference.get_submodule(name).register_forward_hook(partial(keep, name))
            hooks.callback(hook.remove)
        reference.forward_features(images)
    with ExitStack() as hooks:
        for name, module in replaced.items():
            hooks.callback(module.register_forward_pre_hook(partial(fit, name)).remove)
        student.forward_features(images)
    return found


@torch.no_grad()
def set_norm(norm: DynamicTanh | DynamicLinear, inputs: Tensor, outputs: Tensor) -> Fit:
    """Give a norm the values that lead from the inputs to the outputs with the least squared error.

    Args:
        norm: changed in place.
        inputs: (T, C).
        outputs: (T, C).
    """
    tokens, channels = inputs.shape
    x, y = (values.double().cpu().numpy().ravel() for values in (inputs, outputs))
    groups = np.tile(np.arange(channels), tokens)
    if isinstance(norm, DynamicTanh):
        fit = fit_tanh(x, y, groups)
        assert fit.alpha is not None
        norm.alpha.fill_(fit.alpha)
        scale = fit.scale
    else:
        fit = fit_linear(x, y, groups)
        norm.alpha.fill_(ALPHA_INIT)
        scale = fit.scale / ALPHA_INIT
    norm.weight.copy_(torch.from_numpy(scale))
    norm.bias.copy_(torch.from_numpy(fit.offset))
    return fit


def _some_tokens(tokens: Tensor) -> Tensor:
    """(n, C) tokens at even steps from (B, …, C)."""
    flat = tokens.flatten(0, -2)
    most = max(TOKENS_LEAST, ELEMENTS // flat.shape[1])
    positions = torch.linspace(0, flat.shape[0] - 1, min(most, flat.shape[0]), device=flat.device).round().long()
    return flat[positions].float()
