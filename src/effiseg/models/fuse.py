"""`fuse`: a trained SegFormer as the smallest network that computes the same logits.

Every map that is affine at inference goes into a neighbour, in float64:

- a norm is a core (standardize, tanh, erf, nothing) between two affine maps, as it says itself; the one behind goes
  into the layers that read it: norm1 into the query and the reducing convolution (or keys and values), the norm after
  the reduction into keys and values, norm2 into fc1, a stage's norm into the head and the next patch embedding;
- the one ahead, DyT's α or Derf's α and s, goes into the convolution before it; DyL has no core and vanishes;
- taking a token's mean away is the linear map I − 11ᵀ/C, which goes where a scale goes, but stays in front of a tanh
  or erf that reads the residual path;
- a BatchNorm at inference is an affine map alone and goes into the convolution before it;
- the scale 1/√d goes into the query. A key's bias adds the same to all scores of a query and vanishes; a value's
  bias passes through the softmax, whose weights sum to 1, into the output projection, and with one head the
  output projection goes into the values;
- the head is composed (see `decode_head`) with its BatchNorm inside.

Across the zero padding of a patch embedding a norm's scale folds like any other; its shift does not reach the
padding and becomes a correction of the border (`fused_blocks.Convolution`).
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from effiseg.config.engine import Output
from effiseg.errors import ModelError
from effiseg.models.affine import Affine, exact
from effiseg.models.best_class import best_class
from effiseg.models.decode_head import DecodeHead, StageProjection, compose
from effiseg.models.fused_blocks import (
    AttentionForm,
    Convolution,
    FusedAttention,
    FusedBlock,
    FusedConvBlock,
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
from effiseg.models.mix_transformer import Block, ConvBlock, MixFeedForward, PatchEmbedding, ReducedAttention, Stage
from effiseg.models.normalization import EncoderNorm, NormParts
from effiseg.models.segformer import SegFormer, check_images

InputForm = Literal["normalized", "uint8"]
_MOST_LABELS = 255


class FusedSegFormer(nn.Module):
    """The deploy form of a SegFormer, made by `fuse`. For inference only: it has no training mode.

    Attributes:
        shape, variant, output_stride, num_classes, metadata: as in the model it came from.
        input: "normalized" or "uint8", see `forward`.
        output: "logits" or "labels", see `forward`.
        pointwise: "linear" or "conv", how pointwise maps are computed.
        classes_last: how labels are sought, see `best_class`.
    """

    def __init__(
        self,
        stages: list[FusedStage],
        head: FusedHead,
        source: SegFormer,
        input: InputForm,
        output: Output,
        pointwise: PointwiseForm,
        classes_last: bool,
    ) -> None:
        super().__init__()
        self.shape, self.variant, self.output_stride = source.shape, source.variant, source.output_stride
        self.num_classes = source.num_classes
        self.metadata: ModelMetadata = source.metadata
        self.input: InputForm = input
        self.output: Output = output
        self.pointwise: PointwiseForm = pointwise
        self.classes_last = classes_last
        self.stages = nn.ModuleList(stages)
        self.head = head
        self.register_buffer("mean", 255 * torch.tensor(self.metadata.mean, dtype=torch.float64), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits at a quarter or an eighth of the images' size, or the label of every pixel.

        Args:
            images: any H and W from 32 on, odd ones included. input="normalized": (B, 3, H, W) float of the
                weights' dtype, normalized by `metadata.normalize`. input="uint8": (B, H, W, 3) uint8 RGB.

        Returns:
            output="logits": (B, K, ⌈H/stride⌉, ⌈W/stride⌉). output="labels": (B, H, W) uint8, the best class of the
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
        logits: Tensor = self.head([maps[stage] for stage in self.shape.head_stages])
        return logits if self.output == "logits" else best_class(logits, size, classes_last=self.classes_last)

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
    classes_last: bool = True,
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
        classes_last: how labels are sought, see `best_class`.

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
    if output == "labels" and model.num_classes > _MOST_LABELS:
        raise ModelError(
            f"labels are uint8, for at most {_MOST_LABELS} classes; found {model.num_classes}: take logits instead"
        )
    folding = _Folding(pointwise, attention)
    std = torch.tensor(model.metadata.std, dtype=torch.float64)
    affine = Affine.diagonal(1 / (255 * std) if input == "uint8" else torch.ones_like(std))
    stages, affines = [], []
    for stage in model.encoder.stages:
        assert isinstance(stage, Stage)
        fused, affine = folding.stage(stage, affine)
        stages.append(fused)
        affines.append(affine)
    read = [affines[stage] for stage in model.shape.head_stages]
    fused_head = folding.head(model.decode_head, read, head or pointwise)
    fused_model = FusedSegFormer(stages, fused_head, model, input, output, pointwise, classes_last).eval()
    return fused_model.to(weight.device, weight.dtype)


def torch_form(device: str, *, compiled: bool = False) -> PointwiseForm:
    """How torch computes pointwise maps fastest: operator by operator on a CPU as convolutions (a tenth faster, B0 at
    512x1024), else as matrix products.

    Args:
        device: cpu or cuda.
        compiled: by torch.compile.
    """
    return "conv" if device == "cpu" and not compiled else "linear"


class _Folding:
    """Makes the fused parts, in float64 on the CPU, for one form of pointwise maps and attention."""

    def __init__(self, form: PointwiseForm, attention: AttentionForm) -> None:
        self.form: PointwiseForm = form
        self.attention: AttentionForm = attention

    def stage(self, stage: Stage, before: Affine) -> tuple[FusedStage, Affine]:
        """One stage whose input still wants `before`; what its own output wants."""
        core: nn.Module | None = None
        affine = Affine.identity(stage.patch_embedding.proj.out_channels)
        if not isinstance(stage.norm, nn.Identity):
            core, affine = self.norm(stage.norm)
        blocks = [self.block(block) if isinstance(block, Block) else self.conv_block(block) for block in stage.blocks]
        return FusedStage(self.patch_embedding(stage.patch_embedding, before), blocks, core), affine

    def patch_embedding(self, embedding: PatchEmbedding, before: Affine) -> nn.Module:
        weight, bias = _parameters(embedding.proj)
        # Zero padding comes after the shift: only the matrix folds into the kernel.
        border = torch.einsum("oikl,i->okl", weight, before.shift)[:, None] if before.shift.any() else None
        parts = _parts(embedding.norm)
        core: nn.Module | None = None
        after = parts.before
        match parts.core:
            case "standardize":
                core = Standardization(self.form, parts.eps, parts.weight, parts.bias)
            case None:
                after = parts.after.after(after)
            case function:
                core = Squashing(self.form, function, weight=parts.weight, bias=parts.bias)
        kernel, offset = after.applied_to(before.scaling(weight), bias)
        if border is not None:
            border, _ = after.applied_to(border, bias)
        convolution = Convolution(
            kernel,
            offset,
            self.form,
            stride=embedding.proj.stride[0],
            padding=int(embedding.proj.padding[0]),
            border=border,
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
            Pointwise(*affine2.read_by(*_parameters(mlp.fc1)), self.form),
            mixing,
            Pointwise(*_parameters(mlp.fc2), self.form),
        )

    def conv_block(self, block: nn.Module) -> FusedConvBlock:
        assert isinstance(block, ConvBlock)
        expand, expand_bias = _with_batch_norm(block.expand, block.expand_norm)
        project, project_bias = _with_batch_norm(block.project, block.project_norm)
        mixing = Convolution(
            *_with_batch_norm(block.dwconv, block.dwconv_norm), self.form, stride=1, padding=1,
            groups=block.dwconv.groups,
        )  # fmt: skip
        return FusedConvBlock(
            Pointwise(expand.flatten(1), expand_bias, self.form),
            mixing,
            Pointwise(project.flatten(1), project_bias, self.form),
        )

    def attend(self, attention: ReducedAttention, before: Affine) -> FusedAttention:
        reduction: nn.Module | None = None
        source = before
        if attention.reduction is not None and attention.reduction_norm is not None:
            reduction, source = self.reduce(attention.reduction, attention.reduction_norm, before)
        scale = (attention.query.in_features // attention.heads) ** -0.5
        query, query_bias = (scale * values for values in before.read_by(*_parameters(attention.query)))
        key, _ = source.read_by(*_parameters(attention.key))
        value, value_bias = source.read_by(*_parameters(attention.value))
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

    def reduce(self, convolution: nn.Module, norm: nn.Module, before: Affine) -> tuple[nn.Module, Affine]:
        """The reducing convolution, whose windows never meet padding, and its norm."""
        assert isinstance(convolution, nn.Conv2d)
        weight, bias = before.read_by(*_parameters(convolution))
        core, affine = self.norm(norm)
        parts = _parts(norm)
        if parts.core is not None and parts.core != "standardize":
            weight, bias = parts.before.applied_to(weight, bias)
            core = Squashing(self.form, parts.core)
        reducing = Convolution(weight, bias, self.form, stride=convolution.stride[0], fill=True)
        return reducing if core is None else nn.Sequential(reducing, core), affine

    def norm(self, norm: nn.Module) -> tuple[nn.Module | None, Affine]:
        """A norm as its core, or None, and the affine map after it."""
        parts = _parts(norm)
        match parts.core:
            case "standardize":
                ones, zeros = torch.ones_like(parts.weight), torch.zeros_like(parts.weight)
                return Standardization(self.form, parts.eps, ones, zeros), parts.after
            case None:
                return None, parts.after.after(parts.before)
            case function:
                ahead = {"alpha": parts.alpha, "offset": parts.offset}
                return Squashing(self.form, function, **ahead, centered=parts.centered), parts.after

    def head(self, head: DecodeHead, affines: list[Affine], form: PointwiseForm) -> FusedHead:
        projections = []
        for stage, affine in zip(head.linear_c, affines, strict=True):
            assert isinstance(stage, StageProjection)
            projections.append(affine.read_by(*_parameters(stage.proj)))
        scale, shift = _batch_norm(head.batch_norm)
        matrices, bias = compose(projections, exact(head.linear_fuse.weight).flatten(1), scale)
        bias = bias + shift
        parts = [Pointwise(matrix, None if index else bias, form) for index, matrix in enumerate(matrices)]
        classifier, classifier_bias = _parameters(head.classifier)
        return FusedHead(parts, Pointwise(classifier.flatten(1), classifier_bias, form), self.form)


def _parts(norm: nn.Module) -> NormParts:
    if isinstance(norm, nn.BatchNorm2d):
        return NormParts(None, None, *_batch_norm(norm))
    assert isinstance(norm, EncoderNorm)
    return norm.parts()


def _batch_norm(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift (C,) of a BatchNorm in evaluation."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = exact(norm.weight) / torch.sqrt(exact(norm.running_var) + norm.eps)
    return scale, exact(norm.bias) - scale * exact(norm.running_mean)


def _with_batch_norm(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Kernel and bias of a convolution without bias and the BatchNorm behind it."""
    scale, shift = _batch_norm(norm)
    return scale[:, None, None, None] * exact(convolution.weight), shift


def _parameters(layer: nn.Linear | nn.Conv2d) -> tuple[Tensor, Tensor]:
    assert layer.bias is not None
    return exact(layer.weight), exact(layer.bias)
