"""Every norm of a SegFormer's encoder, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from effiseg.config.model import Norm
from effiseg.models.mix_transformer import Block, Stage
from effiseg.models.normalization import EncoderNorm
from effiseg.models.segformer import SegFormer
from effiseg.models.shape import TOTAL_STRIDES

Place = Literal["patch_embedding", "before_attention", "after_reduction", "before_mlp", "stage_end"]


@dataclass(frozen=True)
class NormLayer:
    """One norm and its place."""

    name: str
    """Its dotted name in the model."""
    place: Place
    """The layer before or after it."""
    stage: int
    """1 to 4."""
    block: int | None
    """From 1; None outside of blocks."""
    kind: Norm
    """Which norm it is."""
    stride: int
    """Pixels of the input, in each direction, that one of its tokens stands for."""
    module: EncoderNorm
    """The norm itself."""

    @property
    def channels(self) -> int:
        """Its width C."""
        return self.module.weight.numel()


def norm_layers(model: SegFormer) -> list[NormLayer]:
    """All norms of the encoder, in the order in which they run; BatchNorms are left out, they fold away."""
    names = {module: name for name, module in model.named_modules()}
    layers: list[NormLayer] = []

    def add(module: nn.Module, place: Place, stage: int, block: int | None, reduction: int = 1) -> None:
        assert isinstance(module, EncoderNorm)
        stride = TOTAL_STRIDES[stage - 1] * reduction
        layers.append(NormLayer(names[module], place, stage, block, module.kind, stride, module))

    for number, stage in enumerate(model.encoder.stages, start=1):
        assert isinstance(stage, Stage)
        if model.shape.stages[number - 1] == "conv":
            continue
        add(stage.patch_embedding.norm, "patch_embedding", number, None)
        for index, block in enumerate(stage.blocks, start=1):
            assert isinstance(block, Block)
            add(block.norm1, "before_attention", number, index)
            if block.attention.reduction_norm is not None:
                add(
                    block.attention.reduction_norm, "after_reduction", number, index, model.shape.reductions[number - 1]
                )
            add(block.norm2, "before_mlp", number, index)
        add(stage.norm, "stage_end", number, None)
    return layers
