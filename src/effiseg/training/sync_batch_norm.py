"""Batch normalization over the batches of all processes, on any device.

torch's own SyncBatchNorm runs on GPUs only; this one lets CPU processes train exactly like one process, which
is also how the tests check data-parallel training.
"""

from __future__ import annotations

import torch
import torch.distributed
from torch import Tensor, nn

from effiseg.losses.reduction import sum_over_processes


class CrossProcessBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d whose training statistics are those of the global batch (B·processes, C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalize (B, C, H, W); differs from nn.BatchNorm2d only while training in several processes."""
        if not (self.training and torch.distributed.is_initialized()):
            return super().forward(input)
        # Sums in float64: the variance of a batch is a small difference of large numbers.
        count = torch.tensor(input.numel() // input.shape[1], device=input.device)
        total, count = sum_over_processes(input.double().sum(dim=(0, 2, 3)), count, across_processes=True)
        mean = total / count
        centred = input.double() - mean[None, :, None, None]
        squares = centred.square().sum(dim=(0, 2, 3))
        variance = sum_over_processes(squares, across_processes=True)[0] / count  # (C,)
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            assert self.momentum is not None
            unbiased = variance * count / (count - 1)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
            self.num_batches_tracked += 1
        # Written out, because gradients must also flow through the statistics to the other processes.
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return (centred * scale[None, :, None, None] + self.bias[None, :, None, None]).to(input.dtype)


def synchronize_batch_norm(module: nn.Module, device: str) -> nn.Module:
    """`module` with every BatchNorm2d replaced by one that sees the global batch; weights are kept.

    Args:
        module: any module; changed in place and returned.
        device: "cuda" takes torch's fused SyncBatchNorm, anything else `CrossProcessBatchNorm2d`.
    """
    if device == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return converted
    for child in module.modules():
        if type(child) is nn.BatchNorm2d:
            # Same parameters, buffers and settings; only `forward` differs.
            child.__class__ = CrossProcessBatchNorm2d
    return module
