"""Pixels of every loss: read the labels, drop the ignored, sum (over processes too), divide.

All losses here are ratios of sums over pixels, so a loss of the global batch is found by summing numerators
and denominators over the processes before dividing. Averaging the processes' losses instead would give a
process with few labelled pixels as much say as one with many.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from effiseg.errors import UsageError
from effiseg.losses.options import PixelOptions


class Labels(NamedTuple):
    """A target split into what indexing needs and what masking needs."""

    class_index: Tensor
    """(B, h, w) int64 in 0..K-1; 0 where ignored, so that it may always be used to gather."""
    valid: Tensor
    """(B, h, w) bool, False where ignored."""


def read_labels(logits: Tensor, target: Tensor, pixels: PixelOptions = PixelOptions()) -> Labels:
    """Check a target against its logits and split it.

    Args:
        logits: (B, K, h, w) floating.
        target: (B, h, w) integer (uint8 and int64 alike), values 0..K-1 or `ignore_index`.
        pixels: `ignore_index`, and whether to `upsample`: a target (B, H, W) may then have another size, to which the
            logits will be brought.

    Raises:
        UsageError: shapes do not fit or the target is not integer.
    """
    size = target.shape[1:] if pixels.upsample and target.dim() == 3 else logits.shape[2:]
    if logits.dim() != 4 or target.shape != (logits.shape[0], *size):
        raise UsageError(
            f"a loss needs logits (B, K, h, w) and a target (B, h, w) of the same size, found "
            f"{tuple(logits.shape)} and {tuple(target.shape)}; reduce the labels, or upsample the logits: "
            "PixelOptions(upsample=True)"
        )
    if target.is_floating_point() or target.dtype == torch.bool:
        raise UsageError(f"a target holds integer class indices, found {target.dtype}; convert it to uint8 or int64")
    # Widened before the comparison: an ignore_index outside uint8 (-100) would wrap around into a class.
    index = target.long()
    valid = index != pixels.ignore_index
    return Labels(index.masked_fill(~valid, 0), valid)


def accurate(values: Tensor) -> Tensor:
    """The values in float32, or in float64 if they are: bf16 has three digits, fp16 overflows in sums."""
    return values if values.dtype == torch.float64 else values.float()


def log_probabilities(logits: Tensor) -> Tensor:
    """Log-softmax over the classes, (B, K, h, w), in float32 at least."""
    return torch.log_softmax(accurate(logits), dim=1)


def true_log_probability(log_p: Tensor, labels: Labels) -> Tensor:
    """Log-probability of each pixel's true class, (B, h, w); exactly 0, without gradient, where ignored.

    As fast as F.cross_entropy's kernel, and it lets several terms share one log-softmax.
    """
    return log_p.gather(1, labels.class_index.unsqueeze(1)).squeeze(1).masked_fill(~labels.valid, 0)


def weights_for(class_weights: Tensor, logits: Tensor) -> Tensor:
    """Class weights (K,) on the device of the logits (B, K, h, w) and in the precision they are computed in.

    Raises:
        UsageError: there is not one weight per class.
    """
    if class_weights.shape != (logits.shape[1],):
        raise UsageError(
            f"class_weights holds one weight per class: shape ({logits.shape[1]},), found {tuple(class_weights.shape)}"
        )
    return class_weights.detach().to(logits.device, torch.promote_types(logits.dtype, torch.float32))


def weights_of_pixels(labels: Labels, weights: Tensor | None, logits: Tensor) -> Tensor:
    """The weight (K,) of each pixel's class, 1 without weights, 0 where ignored: (B, h, w)."""
    if weights is None:
        return labels.valid.to(torch.promote_types(logits.dtype, torch.float32))
    return weights[labels.class_index].masked_fill(~labels.valid, 0)


def divide_or_zero(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Numerator / denominator, and 0 with zero gradient where the denominator is 0 (nothing was labelled)."""
    empty = denominator == 0
    # Masking the denominator too keeps 0 · ∞ out of the backward pass.
    return (numerator / denominator.masked_fill(empty, 1)).masked_fill(empty, 0)


class _SumOverProcesses(torch.autograd.Function):
    """All-reduce in both directions.

    Every process holds the same loss L of the global sums S = Σ_r s_r. Summing the W equal gradients dL/dS in
    the backward pass gives each process W · dL/dS · ds_r/dθ, and DDP's average of that over the processes is
    Σ_r dL/dS · ds_r/dθ: the gradient of the one-process loss.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def sum_over_processes(*sums: Tensor, across_processes: bool) -> tuple[Tensor, ...]:
    """Sum each tensor over all processes with one all-reduce, differentiably.

    Args:
        sums: tensors of the same shapes on every process, the first one floating; counts take its dtype.
        across_processes: False, no process group, or a group of one: the tensors come back unreduced.

    Returns:
        As many tensors, all of the first one's dtype.
    """
    dtype = sums[0].dtype
    cast = tuple(tensor.to(dtype) for tensor in sums)
    if not (across_processes and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return cast
    flat = torch.cat([tensor.flatten() for tensor in cast])
    packed: Tensor = _SumOverProcesses.apply(flat)  # type: ignore[no-untyped-call]
    pieces = torch.split(packed, [tensor.numel() for tensor in cast])
    return tuple(piece.view(tensor.shape) for piece, tensor in zip(pieces, cast, strict=True))
