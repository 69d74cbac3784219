"""Other norms in place of LayerNorms that were trained: the values that follow them best on some images."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn

from effiseg.models.normalization import DynamicNorm, LayerNorm
from effiseg.models.segformer import SegFormer

_ELEMENTS = 65_536
"""Elements (token, channel) of each norm that are fitted, over all images; at least `_TOKENS_LEAST` tokens."""
_TOKENS_LEAST = 128


@torch.no_grad()
def fit_norms(student: SegFormer, reference: SegFormer, images: Tensor) -> dict[str, float]:
    """Set every norm of the student that has taken a LayerNorm's place so that it gives what that one gives.

    Both see the same images. Norms are set in the order in which they run, each by least squares from what reaches it
    behind the norms that are already set to what the LayerNorm gives in the reference, so that a later norm makes up
    for what an earlier one could not follow (`DynamicNorm.follow`). No random number is drawn.

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
        if isinstance(module, DynamicNorm) and isinstance(reference.get_submodule(name), LayerNorm)
    }
    wanted: dict[str, Tensor] = {}
    found: dict[str, float] = {}

    def keep(name: str, _: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        wanted[name] = _some_tokens(output)

    def fit(name: str, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        assert isinstance(module, DynamicNorm)
        found[name] = module.follow(_some_tokens(arguments[0]), wanted.pop(name)).r2

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


def _some_tokens(tokens: Tensor) -> Tensor:
    """(n, C) tokens at even steps from (B, …, C)."""
    flat = tokens.flatten(0, -2)
    most = max(_TOKENS_LEAST, _ELEMENTS // flat.shape[1])
    positions = torch.linspace(0, flat.shape[0] - 1, min(most, flat.shape[0]), device=flat.device).round().long()
    return flat[positions].float()
