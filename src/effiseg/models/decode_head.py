"""The all-MLP decode head (Xie et al. 2021, section 3.2), always in its composed form.

As published, the head widens each stage's map to E channels (linear_c), upsamples all to stride 4,
concatenates the 4·E channels and fuses them to E with a 1x1 convolution. Both steps are linear in the
channels and upsampling acts on each channel alone, so with F_i the slice of the fusing kernel that meets
stage i

    fuse(concat(up(W_i x_i + b_i))) = Σ_i up((F_i W_i) x_i) + Σ_i F_i b_i

exactly (bilinear weights sum to 1, so a constant passes through upsampling). The right side costs 7 % (B0)
or 4 % (B2) of the work of the left one. Parameters, names and gradients are those of the standard head: the
gradients reach F and W through the product. Summing coarse to fine while upsampling would be cheaper still,
and is not exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effiseg.models.pointwise import pointwise


class StageProjection(nn.Module):
    """One stage's linear layer to the decoder width; holds the parameters W_i (E, C) and b_i (E,)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(…, C) to (…, E): the layer as published, which the composed head never runs by itself."""
        widened: Tensor = self.proj(tokens)
        return widened


def compose(
    projections: Sequence[tuple[Tensor, Tensor]], fuse: Tensor, scale: Tensor | None = None
) -> tuple[list[Tensor], Tensor]:
    """Multiply the stages' linears with the fusing convolution.

    Args:
        projections: (W_i, b_i) of the stages, finest first: (E, C_i) and (E,).
        fuse: (E, S·E) the fusing kernel; its input is the concatenation with the **coarsest** stage first.
        scale: (E,), multiplies the output channels (the folded BatchNorm), or None.

    Returns:
        One matrix (E, C_i) per stage, finest first, and their common bias (E,).
    """
    if scale is not None:
        fuse = fuse * scale[:, None]
    slices = fuse.chunk(len(projections), dim=1)[::-1]
    matrices = [part @ weight for part, (weight, _) in zip(slices, projections, strict=True)]
    biases = [part @ bias for part, (_, bias) in zip(slices, projections, strict=True)]
    return matrices, torch.stack(biases).sum(0)


class DecodeHead(nn.Module):
    """The all-MLP head: the maps it reads to logits as large as the finest of them.

    Args:
        embed_dims: channels of the maps, finest first: of all four stages, or of the last three.
        width: decoder width E.
        num_classes: K.
        dropout: share of the fused map's channels that is dropped before the classifier. Whole channels, as
            in NVlabs' published head; transformers drops single elements, whose random numbers alone cost a
            tenth of a training step on a CPU.
    """

    def __init__(self, embed_dims: Sequence[int], width: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.linear_c = nn.ModuleList(StageProjection(channels, width) for channels in embed_dims)
        self.linear_fuse = nn.Conv2d(width * len(embed_dims), width, 1, bias=False)
        self.batch_norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, feature_maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_i, H_i, W_i), finest first, to logits (B, K, H_1, W_1)."""
        # Statistics of the batch need the map before BN; running statistics are constants and fold into the
        # matrices. It is BN's own mode that decides, so that a frozen BN in a training model is right too.
        folds = not self.batch_norm.training
        matrices, bias = self._composed(folds, feature_maps[0].device.type)
        size = feature_maps[0].shape[2:]
        upsampled = (
            F.interpolate(pointwise(feature_map, matrix), size=size, mode="bilinear", align_corners=False)
            for feature_map, matrix in zip(feature_maps[1:], matrices[1:], strict=True)
        )
        # The sum grows in one buffer: at E channels and stride 4 each new one costs as much as a layer. It
        # starts from an upsampled map because a matrix product returns a view, whose in-place gradient is a copy.
        fused = next(upsampled)
        for addend in upsampled:
            fused = fused.add_(addend)
        fused = fused.add_(pointwise(feature_maps[0], matrices[0], bias))
        if not folds:
            fused = self.batch_norm(fused)
        fused = self.dropout(F.relu(fused, inplace=True))
        logits: Tensor = self.classifier(fused)
        return logits

    def _composed(self, fold_batch_norm: bool, device_type: str) -> tuple[list[Tensor], Tensor]:
        # Outside autocast: a product of rounded factors would be rounded twice, and it is small work.
        with _without_autocast(device_type):
            linears = [cast(StageProjection, stage).proj for stage in self.linear_c]
            projections = [(linear.weight, linear.bias) for linear in linears]
            fuse = self.linear_fuse.weight.flatten(1)
            if not fold_batch_norm:
                return compose(projections, fuse)
            norm = self.batch_norm
            assert norm.running_mean is not None
            assert norm.running_var is not None
            scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            matrices, bias = compose(projections, fuse, scale)
            return matrices, bias + norm.bias - scale * norm.running_mean


def _without_autocast(device_type: str) -> AbstractContextManager[object]:
    """Autocast off; nothing where it is off already, so that traced graphs stay clean."""
    if torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()
