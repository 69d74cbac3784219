"""A loss of the user's own: how it is called, and tried before a run begins."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effiseg.errors import UsageError
from effiseg.losses.options import PixelOptions
from effiseg.losses.reduction import accurate

Loss = Callable[..., Tensor]
"""`loss(logits, target)` → scalar; see `custom_loss`."""


def custom_loss(
    loss: Loss,
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    *,
    ignore_index: int = 255,
    across_processes: bool = False,
) -> Tensor:
    """Call a loss as torch's own losses are called: `loss(logits, target)`.

    It gets logits (B, K, H, W) in float32, brought to the target's size (bilinear, align_corners=False), and the
    target (B, H, W) int64 with class indices and `ignore_index`. Of the options that the losses of this package
    take, it also gets those that it names as parameters: `class_weights`, `ignore_index`, `across_processes`. A
    loss that names `upsample` gets `upsample=True` and the logits at their own size, (B, K, h, w); one that names
    `pixels`, as ours do, gets all of these as `PixelOptions`.

    Args:
        loss: a function, a `functools.partial` of one, or an nn.Module.
        logits: (B, K, h, w) floating.
        target: (B, H, W) integer.
        class_weights: (K,) or None.
        ignore_index: the value of pixels that count nowhere.
        across_processes: whether the process is one of several that share a batch.

    Returns:
        What the loss returned.
    """
    options: dict[str, Any] = {
        "class_weights": class_weights,
        "ignore_index": ignore_index,
        "across_processes": across_processes,
        "upsample": True,
        "pixels": PixelOptions(ignore_index, upsample=True, across_processes=across_processes),
    }
    named = {name: value for name, value in options.items() if name in _parameters(loss)}
    if not {"upsample", "pixels"} & set(named) and logits.shape[-2:] != target.shape[-2:]:
        logits = F.interpolate(accurate(logits), target.shape[-2:], mode="bilinear", align_corners=False)
    return loss(accurate(logits), target.long(), **named)


def _parameters(loss: Loss) -> set[str]:
    """Names of the parameters of a loss that can be given by name and are not given yet."""
    try:
        parameters = inspect.signature(loss.forward if isinstance(loss, nn.Module) else loss).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return set()
    given = loss.keywords if isinstance(loss, partial) else {}
    return {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)} - set(given)


def check_custom_loss(loss: Loss, num_classes: int, ignore_index: int = 255) -> None:
    """Try a loss on a small batch with ignored pixels.

    Raises:
        UsageError: it fails there, or does not return a scalar with a gradient for the logits.
    """
    if not callable(loss):
        raise UsageError(f"loss must be a name, settings or a callable loss(logits, target); found {loss!r}")
    held = chain(loss.parameters(), loss.buffers()) if isinstance(loss, nn.Module) else iter(())
    device = next((tensor.device for tensor in held), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, num_classes, 8, 8, generator=generator).to(device).requires_grad_()
    target = torch.randint(num_classes, (2, 32, 32), generator=generator, dtype=torch.uint8).to(device)
    target[:, :4] = ignore_index
    weights = torch.ones(num_classes, device=device)
    try:
        value = custom_loss(loss, logits, target, weights, ignore_index=ignore_index)
    except Exception as error:
        text = " ".join(str(error).split())
        raise UsageError(
            f"loss(logits, target) must take logits (B, {num_classes}, H, W) float32 and a target (B, H, W) int64 of "
            f"class indices and {ignore_index} (ignored pixels); it raised {type(error).__name__}: {text}"
        ) from error
    rule = "loss(logits, target) must return a scalar floating tensor with a gradient for the logits"
    if not isinstance(value, Tensor):
        raise UsageError(f"{rule}; found {type(value).__name__}")
    if value.ndim or not value.is_floating_point():
        raise UsageError(f"{rule}; found {value.dtype} of shape {tuple(value.shape)}")
    if not value.requires_grad or torch.autograd.grad(value, logits, allow_unused=True)[0] is None:
        raise UsageError(f"{rule}; found one that does not depend on them (was it detached?)")
