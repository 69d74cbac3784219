"""The Mix Transformer (MiT), SegFormer's encoder (Xie et al. 2021, section 3.1).

Tokens (B, N, C) and maps (B, C, H, W) are two views of one NHWC memory: a map is the token tensor permuted,
which torch calls channels_last, so linears, norms and attention on one side and convolutions on the other
run without a copy between them. (Half of a conventional implementation's time on a CPU is such copies.)
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effiseg.config.model import Norm
from effiseg.models.normalization import build_norm
from effiseg.models.pointwise import PointwiseLinear
from effiseg.models.shape import PATCH_SIZES, STRIDES, Shape


class Features(NamedTuple):
    """Outputs of the encoder, stage by stage, strides 4, 8, 16, 32."""

    feature_maps: tuple[Tensor, ...]
    """Four maps (B, C, H, W), channels_last, after each stage's norm: the decode head's input."""
    patch_embeddings: tuple[Tensor, ...]
    """Four token tensors (B, N, C) as they leave each overlap patch embedding, after its norm."""


def as_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """(B, H·W, C) seen as (B, C, H, W) in channels_last memory; a view."""
    return tokens.reshape(tokens.shape[0], height, width, tokens.shape[2]).permute(0, 3, 1, 2)


def as_tokens(feature_map: Tensor) -> Tensor:
    """(B, C, H, W) seen as (B, H·W, C); a view if the map lies in channels_last memory."""
    return feature_map.permute(0, 2, 3, 1).flatten(1, 2)


def whole_window(feature_map: Tensor, side: int) -> Tensor:
    """A map with its last row and column repeated until both sides are at least `side`, so that one window fits in.

    What is repeated is changed alike by any map of single places, so norms ahead of it fold as they do elsewhere.
    """
    down, right = (max(0, side - length) for length in feature_map.shape[2:])
    return F.pad(feature_map, (0, right, 0, down), mode="replicate") if down or right else feature_map


def add_branch(tokens: Tensor, branch: Tensor, drop_rate: float) -> Tensor:
    """Residual sum with stochastic depth (Huang et al. 2016): tokens + branch, or tokens alone, per sample.

    Args:
        tokens: (B, N, C).
        branch: (B, N, C), what the residual branch computed.
        drop_rate: probability that a sample goes without the branch; kept branches are divided by
            1 - drop_rate, so that the expectation is that of evaluation. 0 in evaluation.

    Returns:
        (B, N, C).
    """
    if drop_rate == 0.0:
        return tokens + branch
    keep = 1.0 - drop_rate
    scale = torch.rand(tokens.shape[0], 1, 1, device=tokens.device).lt(keep).to(tokens.dtype).div(keep)
    return torch.addcmul(tokens, branch, scale)


class PatchEmbedding(nn.Module):
    """Overlap patch embedding: a strided convolution whose windows overlap, then the norm; None: a BatchNorm."""

    def __init__(self, in_channels: int, channels: int, patch: int, stride: int, norm: Norm | None, eps: float) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, patch, stride, patch // 2)
        self.norm: nn.Module = nn.BatchNorm2d(channels) if norm is None else build_norm(norm, channels, eps)

    def forward(self, feature_map: Tensor) -> tuple[Tensor, int, int]:
        """(B, C', H', W') to tokens (B, H·W, C), H and W."""
        projected: Tensor = self.proj(feature_map)
        on_maps = isinstance(self.norm, nn.BatchNorm2d)
        tokens: Tensor = as_tokens(self.norm(projected)) if on_maps else self.norm(as_tokens(projected))
        return tokens, projected.shape[2], projected.shape[3]


class ReducedAttention(nn.Module):
    """Self-attention whose keys and values come from a map reduced `reduction` times in each direction.

    The reducing convolution drops the rows and columns that do not fill a whole window, as the original does; where
    not even one is filled, `whole_window` fills it.
    """

    def __init__(self, channels: int, heads: int, reduction: int, norm: Norm, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = PointwiseLinear(channels, channels)
        self.key = PointwiseLinear(channels, channels)
        self.value = PointwiseLinear(channels, channels)
        self.output = PointwiseLinear(channels, channels)
        self.reduction: nn.Conv2d | None = None
        self.reduction_norm: nn.Module | None = None
        if reduction > 1:
            self.reduction = nn.Conv2d(channels, channels, reduction, reduction)
            self.reduction_norm = build_norm(norm, channels, eps)

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """(B, H·W, C) to (B, H·W, C)."""
        source = tokens
        if self.reduction is not None and self.reduction_norm is not None:
            whole = whole_window(as_map(tokens, height, width), self.reduction.kernel_size[0])
            source = self.reduction_norm(as_tokens(self.reduction(whole)))
        query = self._split_heads(self.query(tokens))  # (B, heads, N, C / heads)
        key = self._split_heads(self.key(source))
        value = self._split_heads(self.value(source))
        attended = F.scaled_dot_product_attention(query, key, value)
        result: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return result

    def _split_heads(self, tokens: Tensor) -> Tensor:
        batch, count, channels = tokens.shape
        return tokens.view(batch, count, self.heads, channels // self.heads).transpose(1, 2)


class MixFeedForward(nn.Module):
    """Mix-FFN: linear, depthwise 3x3 convolution (which tells positions apart), GELU (erf), linear."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        hidden = channels * ratio
        self.fc1 = PointwiseLinear(channels, hidden)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, 1, 1, groups=hidden)
        self.fc2 = PointwiseLinear(hidden, channels)

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """(B, H·W, C) to (B, H·W, C)."""
        mixed = as_tokens(self.dwconv(as_map(self.fc1(tokens), height, width)))
        result: Tensor = self.fc2(F.gelu(mixed))
        return result


class Block(nn.Module):
    """One transformer block: attention and Mix-FFN, each behind a norm and beside a residual path."""

    def __init__(
        self, channels: int, heads: int, reduction: int, ratio: int, norm: Norm, eps: float, drop_path_rate: float
    ) -> None:
        super().__init__()
        self.norm1 = build_norm(norm, channels, eps)
        self.attention = ReducedAttention(channels, heads, reduction, norm, eps)
        self.norm2 = build_norm(norm, channels, eps)
        self.mlp = MixFeedForward(channels, ratio)
        self.drop_path_rate = drop_path_rate

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """(B, H·W, C) to (B, H·W, C)."""
        drop_rate = self.drop_path_rate if self.training else 0.0
        tokens = add_branch(tokens, self.attention(self.norm1(tokens), height, width), drop_rate)
        return add_branch(tokens, self.mlp(self.norm2(tokens), height, width), drop_rate)


class ConvBlock(nn.Module):
    """One block without attention, an inverted residual (Sandler et al. 2018): widen, depthwise 3x3, narrow.

    Each convolution has a BatchNorm, which folds into it at inference; ReLU follows the first two.
    """

    def __init__(self, channels: int, ratio: int, drop_path_rate: float) -> None:
        super().__init__()
        hidden = channels * ratio
        self.expand = nn.Conv2d(channels, hidden, 1, bias=False)
        self.expand_norm = nn.BatchNorm2d(hidden)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, 1, 1, groups=hidden, bias=False)
        self.dwconv_norm = nn.BatchNorm2d(hidden)
        self.project = nn.Conv2d(hidden, channels, 1, bias=False)
        self.project_norm = nn.BatchNorm2d(channels)
        self.drop_path_rate = drop_path_rate

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """(B, H·W, C) to (B, H·W, C)."""
        wide = F.relu(self.expand_norm(self.expand(as_map(tokens, height, width))), inplace=True)
        mixed = F.relu(self.dwconv_norm(self.dwconv(wide)), inplace=True)
        branch = as_tokens(self.project_norm(self.project(mixed)))
        return add_branch(tokens, branch, self.drop_path_rate if self.training else 0.0)


class Stage(nn.Module):
    """Overlap patch embedding, blocks, norm (none after convolutional blocks): one resolution of the encoder."""

    def __init__(self, patch_embedding: PatchEmbedding, blocks: list[Block | ConvBlock], norm: nn.Module) -> None:
        super().__init__()
        self.patch_embedding = patch_embedding
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm

    def forward(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C', H', W') to the stage's map (B, C, H, W) and its patch embedding (B, H·W, C)."""
        embedding, height, width = self.patch_embedding(feature_map)
        tokens = embedding
        for block in self.blocks:
            tokens = block(tokens, height, width)
        return as_map(self.norm(tokens), height, width), embedding


class MixTransformer(nn.Module):
    """The encoder: four stages at strides 4, 8, 16 and 32.

    Args:
        shape: of the network.
        patch_norm: norm after the overlap patch embeddings; of a stage of convolutions it is a BatchNorm.
        block_norm: every other norm: two per block with attention, the one after the reducing convolution, one per
            stage with attention.
        drop_path_rate: stochastic depth of the last block; it grows linearly from 0 at the first.
        norm_eps: epsilon of the LayerNorms.
    """

    def __init__(
        self,
        shape: Shape,
        patch_norm: Norm = "layer_norm",
        block_norm: Norm = "layer_norm",
        *,
        drop_path_rate: float = 0.1,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        count = sum(shape.depths)
        rates = iter([drop_path_rate * index / max(1, count - 1) for index in range(count)])
        stages = []
        in_channels = 3
        for index, (channels, ratio) in enumerate(zip(shape.embed_dims, shape.mlp_ratios, strict=True)):
            with_attention = shape.stages[index] == "attention"
            patch = PatchEmbedding(
                in_channels,
                channels,
                PATCH_SIZES[index],
                STRIDES[index],
                patch_norm if with_attention else None,
                norm_eps,
            )
            heads, reduction = shape.heads[index], shape.reductions[index]
            blocks = [
                Block(channels, heads, reduction, ratio, block_norm, norm_eps, next(rates))
                if with_attention
                else ConvBlock(channels, ratio, next(rates))
                for _ in range(shape.depths[index])
            ]
            norm = build_norm(block_norm, channels, norm_eps) if with_attention else nn.Identity()
            stages.append(Stage(patch, blocks, norm))
            in_channels = channels
        self.stages = nn.ModuleList(stages)

    def forward(self, images: Tensor) -> Features:
        """(B, 3, H, W) normalized float, H and W at least 32, to the four stages' `Features`."""
        current = images.contiguous(memory_format=torch.channels_last)
        feature_maps, patch_embeddings = [], []
        for stage in self.stages:
            current, embedding = stage(current)
            feature_maps.append(current)
            patch_embeddings.append(embedding)
        return Features(tuple(feature_maps), tuple(patch_embeddings))
