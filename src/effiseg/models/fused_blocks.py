"""The parts of the deploy form: only what is left to compute once every affine map has been folded away.

A map lies in one of two layouts, both of which are the same NHWC memory when torch runs them. With
pointwise="linear" it is (B, H, W, C) and a pointwise map is a matrix product; with pointwise="conv" it is
(B, C, H, W) and a pointwise map is a 1x1 convolution. Engines that keep the axes as written are therefore
not asked to move memory between layers of one form.

Nothing here is trained: every weight is a parameter that requires no gradient.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effiseg.models.mix_transformer import whole_window
from effiseg.models.normalization import Squash, squash

PointwiseForm = Literal["linear", "conv"]
AttentionForm = Literal["sdpa", "matmul"]


def frozen(values: Tensor | None) -> nn.Parameter | None:
    """A parameter that is not trained; None stays None."""
    return None if values is None else nn.Parameter(values, requires_grad=False)


def channels_first(x: Tensor, form: PointwiseForm) -> Tensor:
    """A map in the layout of `form`, seen as (B, C, H, W)."""
    return x.permute(0, 3, 1, 2) if form == "linear" else x


def from_channels_first(x: Tensor, form: PointwiseForm) -> Tensor:
    """(B, C, H, W), seen in the layout of `form`."""
    return x.permute(0, 2, 3, 1) if form == "linear" else x


def channels_last(x: Tensor, form: PointwiseForm) -> Tensor:
    """A map in the layout of `form`, seen as (B, H, W, C)."""
    return x if form == "linear" else x.permute(0, 2, 3, 1)


def _from_channels_last(x: Tensor, form: PointwiseForm) -> Tensor:
    """(B, H, W, C), seen in the layout of `form`."""
    return x if form == "linear" else x.permute(0, 3, 1, 2)


class Pointwise(nn.Module):
    """W x + b at every position.

    Args:
        weight: (out, in).
        bias: (out,) or None.
        form: how it is computed, which is also the layout of input and output.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, form: PointwiseForm) -> None:
        super().__init__()
        self.form = form
        self.weight = frozen((weight if form == "linear" else weight[:, :, None, None]).contiguous())
        self.bias = frozen(bias)

    def forward(self, x: Tensor) -> Tensor:
        """A map of `in` channels to one of `out` channels."""
        assert self.weight is not None
        if self.form == "linear":
            return F.linear(x, self.weight, self.bias)
        return F.conv2d(x, self.weight, self.bias)


class Convolution(nn.Module):
    """A convolution of a map.

    Args:
        weight: (out, in / groups, k, k).
        bias: (out,) or None.
        form: the layout of input and output.
        stride: its stride.
        padding: zeros added on each side.
        groups: number of groups.
        fill: whether a map smaller than a window is filled up to one (`whole_window`).
        border: (out, 1, k, k), or None: the kernel summed against a constant that was added to the input before
            the padding. What it contributes depends on how much of a window lies inside the map, so it is a
            convolution of a map of ones: right for every size, without asking whether that is odd.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        form: PointwiseForm,
        *,
        stride: int,
        padding: int = 0,
        groups: int = 1,
        fill: bool = False,
        border: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.form = form
        self.stride, self.padding, self.groups, self.fill = stride, padding, groups, fill
        self.weight = frozen(weight.to(memory_format=torch.channels_last))
        self.bias = frozen(bias)
        self.border = frozen(border)

    def forward(self, x: Tensor) -> Tensor:
        """A map to a map."""
        assert self.weight is not None
        x = channels_first(x, self.form)
        if self.fill:
            x = whole_window(x, self.weight.shape[2])
        y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding, groups=self.groups)
        if self.border is not None:
            # Made as NHWC: a single channel fits both layouts, and the wrong one makes the sum five times slower.
            ones = x.new_ones((1, x.shape[2], x.shape[3], 1)).permute(0, 3, 1, 2)
            y = y.add_(F.conv2d(ones, self.border, None, self.stride, self.padding))
        return from_channels_first(y, self.form)


class Standardization(nn.Module):
    """LayerNorm over the channels.

    Its weight is 1 and its bias 0 where those were folded into what follows: torch's operator needs half as
    long again without them on a CPU, and exported ones cannot do without.

    Args:
        form: the layout.
        eps: epsilon.
        weight, bias: (C,).
    """

    def __init__(self, form: PointwiseForm, eps: float, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.form = form
        self.eps = eps
        self.weight = frozen(weight)
        self.bias = frozen(bias)

    def forward(self, x: Tensor) -> Tensor:
        """A map to a map."""
        last = channels_last(x, self.form)
        return _from_channels_last(F.layer_norm(last, last.shape[3:], self.weight, self.bias, self.eps), self.form)


class Squashing(nn.Module):
    """γ·f(αx + s) + β, each of the four, and centering x, only where it could not be folded.

    Args:
        form: the layout.
        function: f, element by element.
        alpha: (1,) or None.
        offset: (1,) s or None.
        centered: whether the mean over the channels is taken away first.
        weight: (C,) γ or None.
        bias: (C,) β; given together with γ.
    """

    def __init__(
        self,
        form: PointwiseForm,
        function: Squash,
        alpha: Tensor | None = None,
        offset: Tensor | None = None,
        centered: bool = False,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.function: Squash = function
        self.centered, self.channels_axis = centered, 3 if form == "linear" else 1
        self.alpha, self.offset = frozen(alpha), frozen(offset)
        shape = (-1,) if form == "linear" else (-1, 1, 1)
        self.weight = frozen(None if weight is None else weight.view(shape))
        self.bias = frozen(None if bias is None else bias.view(shape))

    def forward(self, x: Tensor) -> Tensor:
        """A map to a map."""
        if self.centered:
            x = x - x.mean(self.channels_axis, keepdim=True)
        x = x if self.alpha is None else x * self.alpha
        x = squash(x if self.offset is None else x + self.offset, self.function)
        if self.weight is None or self.bias is None:
            return x
        # In place, which keeps the memory's layout; a broadcast weight in the lead may choose another.
        return x.mul_(self.weight).add_(self.bias)


class FusedAttention(nn.Module):
    """Attention of all positions to those of the reduced map.

    Args:
        query: C to C; holds the scale 1/√d.
        reduction: what makes the reduced map, or None.
        key_value: C to 2·C, keys first.
        output: C to C, or None where one head let it be folded into the values.
        heads: number of heads.
        attention: torch's fused operator, or two products around a softmax.
    """

    def __init__(
        self,
        query: Pointwise,
        reduction: nn.Module | None,
        key_value: Pointwise,
        output: Pointwise | None,
        heads: int,
        attention: AttentionForm,
    ) -> None:
        super().__init__()
        self.query, self.reduction, self.key_value, self.output = query, reduction, key_value, output
        self.heads = heads
        self.attention = attention
        self.form = query.form

    def forward(self, x: Tensor) -> Tensor:
        """A map to a map."""
        source = x if self.reduction is None else self.reduction(x)
        query = self._split_heads(self.query(x), self.heads)
        key, value = self._split_heads(self.key_value(source), 2 * self.heads).chunk(2, 1)
        if self.attention == "sdpa":
            attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        else:
            attended = (query @ key.transpose(2, 3)).softmax(-1) @ value
        merged = self._merge_heads(attended, x)
        return merged if self.output is None else self.output(merged)

    # Both ways are exact in both forms. The operator runs along NHWC memory; products written out let an engine
    # that keeps NCHW transpose inside them.

    def _split_heads(self, x: Tensor, heads: int) -> Tensor:
        """A map of heads·d channels to (B, heads, N, d)."""
        if self._stays_channels_first:
            return x.reshape(x.shape[0], heads, x.shape[1] // heads, -1).transpose(2, 3)
        x = channels_last(x, self.form)
        return x.reshape(x.shape[0], -1, heads, x.shape[3] // heads).transpose(1, 2)

    def _merge_heads(self, attended: Tensor, like: Tensor) -> Tensor:
        """(B, heads, N, d) to a map of the shape of `like`."""
        if self._stays_channels_first:
            return attended.transpose(2, 3).reshape(like.shape)
        merged = attended.transpose(1, 2).reshape(channels_last(like, self.form).shape)
        return _from_channels_last(merged, self.form)

    @property
    def _stays_channels_first(self) -> bool:
        return self.form == "conv" and self.attention == "matmul"


class FusedBlock(nn.Module):
    """One transformer block without its affine maps and stochastic depth.

    Args:
        norm1: what is left of the first norm, or None.
        attention: attention.
        norm2: what is left of the second norm, or None.
        fc1, mixing, fc2: the Mix-FFN, whose GELU stands between mixing and fc2.
    """

    def __init__(
        self,
        norm1: nn.Module | None,
        attention: FusedAttention,
        norm2: nn.Module | None,
        fc1: Pointwise,
        mixing: Convolution,
        fc2: Pointwise,
    ) -> None:
        super().__init__()
        self.norm1, self.attention, self.norm2 = norm1, attention, norm2
        self.fc1, self.mixing, self.fc2 = fc1, mixing, fc2

    def forward(self, x: Tensor) -> Tensor:
        """A map to a map."""
        # Each sum grows in the branch's own memory, which nothing else reads.
        attended: Tensor = self.attention(x if self.norm1 is None else self.norm1(x))
        x = attended.add_(x)
        hidden = self.fc1(x if self.norm2 is None else self.norm2(x))
        mixed: Tensor = self.fc2(F.gelu(self.mixing(hidden)))
        return mixed.add_(x)


class FusedConvBlock(nn.Module):
    """One block of convolutions, its BatchNorms folded.

    Args:
        expand, mixing, project: the convolutions; ReLU stands behind the first two.
    """

    def __init__(self, expand: Pointwise, mixing: Convolution, project: Pointwise) -> None:
        super().__init__()
        self.expand, self.mixing, self.project = expand, mixing, project

    def forward(self, x: Tensor) -> Tensor:
        """A map to a map."""
        branch: Tensor = self.project(self.mixing(self.expand(x).relu_()).relu_())
        return branch.add_(x)


class FusedStage(nn.Module):
    """Patch embedding, blocks, and what is left of the stage's norm."""

    def __init__(
        self, patch_embedding: nn.Module, blocks: list[FusedBlock | FusedConvBlock], norm: nn.Module | None
    ) -> None:
        super().__init__()
        self.patch_embedding = patch_embedding
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """A map of the stage before (or the images) to this stage's."""
        x = self.patch_embedding(x)
        for block in self.blocks:
            x = block(x)
        return x if self.norm is None else self.norm(x)


class FusedHead(nn.Module):
    """The composed head with its BatchNorm folded in.

    Args:
        projections: one per map, finest first, to the decoder's width; the first holds the common bias.
        classifier: to the classes.
        maps_form: the layout of the maps it gets, which need not be that of its own layers.
    """

    def __init__(self, projections: list[Pointwise], classifier: Pointwise, maps_form: PointwiseForm) -> None:
        super().__init__()
        self.projections = nn.ModuleList(projections)
        self.classifier = classifier
        self.maps_form = maps_form

    def forward(self, maps: list[Tensor]) -> Tensor:
        """The maps it reads, finest first, to logits (B, K, H, W)."""
        form = self.classifier.form
        if form != self.maps_form:
            maps = [from_channels_first(channels_first(x, self.maps_form), form) for x in maps]
        finest, *coarser = (project(x) for project, x in zip(self.projections, maps, strict=True))
        size = channels_first(finest, form).shape[2:]
        for x in coarser:
            enlarged = F.interpolate(channels_first(x, form), size=size, mode="bilinear", align_corners=False)
            finest = finest.add_(from_channels_first(enlarged, form))
        logits: Tensor = self.classifier(finest.relu_())
        return channels_first(logits, form)
