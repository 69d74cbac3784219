"""`fuse`: a trained SegFormer as the smallest network that computes the same logits.

Every map that is affine at inference goes into a neighbour, in float64:

- a norm is a core (standardize, tanh, nothing) and an affine map; the affine map goes into the layers that
  read it: norm1 into the query and the reducing convolution (or keys and values), the norm after the reduction
  into keys and values, norm2 into fc1, a stage's norm into the head and the next patch embedding;
- DyT's α goes into the convolution before it; DyL has no core and vanishes;
- the scale 1/√d goes into the query. A key's bias adds the same to all scores of a query and vanishes; a value's
  bias passes through the softmax, whose weights sum to 1, into the output projection, and with one head the
  output projection goes into the values;
- the head is composed (see `decode_head`) with its BatchNorm inside.

Across the zero padding of a patch embedding a norm's scale folds like any other; its shift does not reach the
padding and becomes a correction of the border (`fused_blocks.Convolution`).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from effiseg.config.engine import Output
from effiseg.errors import ModelError
from effiseg.models.best_class import best_class
from effiseg.models.decode_head import DecodeHead, StageProjection, compose
from effiseg.models.fused_blocks import (
    AttentionForm,
    Convolution,
    FusedAttention,
    FusedBlock,
    FusedHead,
    FusedStage,
    Pointwise,
    PointwiseForm,
    Squashing,
    Standardization,
    channels_first,
    from_channels_first,
)
from effiseg.models.metadata import ModelMetadata
from effiseg.models.mix_transformer import Block, MixFeedForward, PatchEmbedding, ReducedAttention, Stage
from effiseg.models.normalization import DynamicLinear, DynamicTanh, LayerNorm
from effiseg.models.segformer import SegFormer, check_images

InputForm = Literal["normalized", "uint8"]
MOST_LABELS = 255


class FusedSegFormer(nn.Module):
    """The deploy form of a SegFormer, made by `fuse`. For inference only: it has no training mode.

    Attributes:
        variant, num_classes, metadata: as in the model it came from.
        input: "normalized" or "uint8", see `forward`.
        output: "logits" or "labels", see `forward`.
        pointwise: "linear" or "conv", how pointwise maps are computed.
    """

    def __init__(
        self,
        stages: list[FusedStage],
        head: FusedHead,
        source: SegFormer,
        input: InputForm,
        output: Output,
        pointwise: PointwiseForm,
    ) -> None:
        super().__init__()
        self.variant = source.variant
        self.num_classes = source.num_classes
        self.metadata: ModelMetadata = source.metadata
        self.input: InputForm = input
        self.output: Output = output
        self.pointwise: PointwiseForm = pointwise
        self.stages = nn.ModuleList(stages)
        self.head = head
        self.register_buffer("mean", 255 * torch.tensor(self.metadata.mean, dtype=torch.float64), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits at a quarter of the images' size, or the label of every pixel.

        Args:
            images: any H and W from 32 on, odd ones included. input="normalized": (B, 3, H, W) float of the
                weights' dtype, normalized by `metadata.normalize`. input="uint8": (B, H, W, 3) uint8 RGB.

        Returns:
            output="logits": (B, K, ⌈H/4⌉, ⌈W/4⌉). output="labels": (B, H, W) uint8, the best class of the
            logits enlarged bilinearly (align_corners=False) in float32.

        Raises:
            ModelError: images of another form, or a side under 32.
        """
        x = self._read(images)
        size = channels_first(x, self.pointwise).shape[2:]
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        logits: Tensor = self.head(maps)
        return logits if self.output == "logits" else best_class(logits, size)

    def _read(self, images: Tensor) -> Tensor:
        """The images as a map of three channels, ready for the first convolution."""
        if self.input == "uint8":
            if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[3] != 3:
                raise ModelError(
                    "images must be uint8 RGB of shape (B, H, W, 3); "
                    f"found {str(images.dtype).removeprefix('torch.')} of shape {tuple(images.shape)}"
                )
            assert isinstance(self.mean, Tensor)
            images = (images.to(self.mean.dtype) - self.mean).permute(0, 3, 1, 2)
        check_images(images)
        return from_channels_first(images.contiguous(memory_format=torch.channels_last), self.pointwise)


def fuse(
    model: SegFormer,
    *,
    input: InputForm = "normalized",
    output: Output = "logits",
    pointwise: PointwiseForm | None = None,
    attention: AttentionForm = "sdpa",
    head: PointwiseForm | None = None,
) -> FusedSegFormer:
    """The deploy form of a model: the same logits up to rounding, from less work.

    The model itself is not changed. The form computes what the model computes in evaluation, whatever mode the
    model is in; it holds no weight that only training uses and shares none with the model.

    Args:
        model: any variant with any norms.
        input: "normalized" takes what the model takes; "uint8" takes (B, H, W, 3) uint8 RGB and normalizes it.
        output: "logits", or "labels" for the label map at the input's size.
        pointwise: "linear" computes pointwise maps as matrix products, "conv" as 1x1 convolutions; which is faster
            depends on what runs them, see `effiseg/engines`. Default: `torch_form` of the model's device.
        attention: "sdpa" uses torch's fused attention; "matmul" writes it as two products and a softmax.
        head: the same choice as `pointwise`, for the decode head alone; default: as `pointwise`.

    Returns:
        A module in evaluation mode on the model's device and of its dtype.

    Raises:
        ModelError: not a SegFormer, an unknown option, or labels of more than 255 classes.
    """
    if not isinstance(model, SegFormer):
        raise ModelError(f"fuse takes a SegFormer; found {type(model).__name__}")
    weight = model.decode_head.classifier.weight
    if pointwise is None:
        pointwise = torch_form(weight.device.type)
    for name, value, known in (
        ("input", input, get_args(InputForm)),
        ("output", output, get_args(Output)),
        ("pointwise", pointwise, get_args(PointwiseForm)),
        ("attention", attention, get_args(AttentionForm)),
        ("head", head or pointwise, get_args(PointwiseForm)),
    ):
        if value not in known:
            raise ModelError(f"{name} must be one of {', '.join(known)}; found {value!r}")
    if output == "labels" and model.num_classes > MOST_LABELS:
        raise ModelError(
            f"labels are uint8, for at most {MOST_LABELS} classes; found {model.num_classes}: take logits instead"
        )
    folding = _Folding(pointwise, attention)
    std = torch.tensor(model.metadata.std, dtype=torch.float64)
    affine = _Affine(1 / (255 * std) if input == "uint8" else torch.ones_like(std), torch.zeros_like(std))
    stages, affines = [], []
    for stage in model.encoder.stages:
        assert isinstance(stage, Stage)
        fused, affine = folding.stage(stage, affine)
        stages.append(fused)
        affines.append(affine)
    fused_head = folding.head(model.decode_head, affines, head or pointwise)
    fused_model = FusedSegFormer(stages, fused_head, model, input, output, pointwise).eval()
    return fused_model.to(weight.device, weight.dtype)


def torch_form(device: str, *, compiled: bool = False) -> PointwiseForm:
    """How torch computes pointwise maps fastest: operator by operator on a CPU as convolutions (a tenth faster, B0 at
    512x1024), else as matrix products.

    Args:
        device: cpu or cuda.
        compiled: by torch.compile.
    """
    return "conv" if device == "cpu" and not compiled else "linear"


class _Affine(NamedTuple):
    """scale·x + shift per channel, (C,) each, float64."""

    scale: Tensor
    shift: Tensor


class _Folding:
    """Makes the fused parts, in float64 on the CPU, for one form of pointwise maps and attention."""

    def __init__(self, form: PointwiseForm, attention: AttentionForm) -> None:
        self.form: PointwiseForm = form
        self.attention: AttentionForm = attention

    def stage(self, stage: Stage, before: _Affine) -> tuple[FusedStage, _Affine]:
        """One stage whose input still wants `before`; what its own output wants."""
        core, affine = self.norm(stage.norm)
        blocks = [self.block(block) for block in stage.blocks if isinstance(block, Block)]
        return FusedStage(self.patch_embedding(stage.patch_embedding, before), blocks, core), affine

    def patch_embedding(self, embedding: PatchEmbedding, before: _Affine) -> nn.Module:
        weight, bias = _parameters(embedding.proj)
        # Zero padding comes after the shift: only scale folds into the kernel.
        border = (weight * before.shift[:, None, None]).sum(1, keepdim=True) if before.shift.any() else None
        weight = weight * before.scale[:, None, None]
        norm = embedding.norm
        core: nn.Module | None = None
        match norm:
            case LayerNorm():
                core = Standardization(self.form, norm.eps, _exact(norm.weight), _exact(norm.bias))
                after = _Affine(torch.ones_like(bias), torch.zeros_like(bias))
            case DynamicTanh():
                core = Squashing(self.form, weight=_exact(norm.weight), bias=_exact(norm.bias))
                after = _Affine(_exact(norm.alpha).expand_as(bias), torch.zeros_like(bias))
            case _:
                after = _affine(norm)
        convolution = Convolution(
            weight * after.scale[:, None, None, None],
            bias * after.scale + after.shift,
            self.form,
            stride=embedding.proj.stride[0],
            padding=int(embedding.proj.padding[0]),
            border=None if border is None else border * after.scale[:, None, None, None],
        )
        return convolution if core is None else nn.Sequential(convolution, core)

    def block(self, block: Block) -> FusedBlock:
        core1, affine1 = self.norm(block.norm1)
        core2, affine2 = self.norm(block.norm2)
        mlp: MixFeedForward = block.mlp
        mixing = Convolution(
            *_parameters(mlp.dwconv), self.form, stride=1, padding=1, groups=mlp.dwconv.groups
        )  # fmt: skip
        return FusedBlock(
            core1,
            self.attend(block.attention, affine1),
            core2,
            Pointwise(*_reading(affine2, *_parameters(mlp.fc1)), self.form),
            mixing,
            Pointwise(*_parameters(mlp.fc2), self.form),
        )

    def attend(self, attention: ReducedAttention, before: _Affine) -> FusedAttention:
        reduction: nn.Module | None = None
        source = before
        if attention.reduction is not None and attention.reduction_norm is not None:
            reduction, source = self.reduce(attention.reduction, attention.reduction_norm, before)
        scale = (attention.query.in_features // attention.heads) ** -0.5
        query, query_bias = (scale * values for values in _reading(before, *_parameters(attention.query)))
        key, _ = _reading(source, *_parameters(attention.key))
        value, value_bias = _reading(source, *_parameters(attention.value))
        output, output_bias = _parameters(attention.output)
        output_bias = output_bias + output @ value_bias
        if attention.heads == 1:
            key_value = Pointwise(
                torch.cat((key, output @ value)), torch.cat((torch.zeros_like(output_bias), output_bias)), self.form
            )
            project = None
        else:
            key_value = Pointwise(torch.cat((key, value)), None, self.form)
            project = Pointwise(output, output_bias, self.form)
        return FusedAttention(
            Pointwise(query, query_bias, self.form), reduction, key_value, project, attention.heads, self.attention
        )

    def reduce(self, convolution: nn.Module, norm: nn.Module, before: _Affine) -> tuple[nn.Module, _Affine]:
        """The reducing convolution, whose windows never meet padding, and its norm."""
        assert isinstance(convolution, nn.Conv2d)
        weight, bias = _reading(before, *_parameters(convolution))
        core, affine = self.norm(norm)
        if isinstance(norm, DynamicTanh):
            weight, bias = weight * _exact(norm.alpha), bias * _exact(norm.alpha)
            core = Squashing(self.form)
        reducing = Convolution(weight, bias, self.form, stride=convolution.stride[0])
        return reducing if core is None else nn.Sequential(reducing, core), affine

    def norm(self, norm: nn.Module) -> tuple[nn.Module | None, _Affine]:
        """A norm as its core, or None, and the affine map after it."""
        match norm:
            case LayerNorm():
                weight = _exact(norm.weight)
                core = Standardization(self.form, norm.eps, torch.ones_like(weight), torch.zeros_like(weight))
                return core, _affine(norm)
            case DynamicTanh():
                return Squashing(self.form, alpha=_exact(norm.alpha)), _affine(norm)
            case _:
                return None, _affine(norm)

    def head(self, head: DecodeHead, affines: list[_Affine], form: PointwiseForm) -> FusedHead:
        projections = []
        for stage, affine in zip(head.linear_c, affines, strict=True):
            assert isinstance(stage, StageProjection)
            projections.append(_reading(affine, *_parameters(stage.proj)))
        norm = head.batch_norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = _exact(norm.weight) / torch.sqrt(_exact(norm.running_var) + norm.eps)
        matrices, bias = compose(projections, _exact(head.linear_fuse.weight).flatten(1), scale)
        bias = bias + _exact(norm.bias) - scale * _exact(norm.running_mean)
        parts = [Pointwise(matrix, None if index else bias, form) for index, matrix in enumerate(matrices)]
        classifier, classifier_bias = _parameters(head.classifier)
        return FusedHead(parts, Pointwise(classifier.flatten(1), classifier_bias, form), self.form)


def _affine(norm: nn.Module) -> _Affine:
    """The affine map at the end of a norm."""
    match norm:
        case LayerNorm() | DynamicTanh():
            return _Affine(_exact(norm.weight), _exact(norm.bias))
        case DynamicLinear():
            return _Affine(_exact(norm.alpha) * _exact(norm.weight), _exact(norm.bias))
        case _:
            raise AssertionError(type(norm))


def _reading(affine: _Affine, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """W(scale·x + shift) + b as W'x + b'; of a convolution too, if its windows meet no padding."""
    taps = weight.flatten(2).sum(2) if weight.ndim > 2 else weight
    scale = affine.scale.view(-1, *[1] * (weight.ndim - 2))
    return weight * scale, bias + taps @ affine.shift


def _parameters(layer: nn.Linear | nn.Conv2d) -> tuple[Tensor, Tensor]:
    assert layer.bias is not None
    return _exact(layer.weight), _exact(layer.bias)


def _exact(values: Tensor) -> Tensor:
    return values.detach().to("cpu", torch.float64)
