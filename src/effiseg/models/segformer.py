"""SegFormer (Xie et al. 2021): a Mix Transformer encoder under an all-MLP decode head, in any `Shape`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from effiseg.config.model import LARGEST_STRIDE, Norm, Variant
from effiseg.errors import ModelError
from effiseg.models.decode_head import DecodeHead
from effiseg.models.metadata import ModelMetadata
from effiseg.models.mix_transformer import Features, MixTransformer
from effiseg.models.normalization import DynamicNorm
from effiseg.models.shape import Shape, shape_of

__all__ = ["Features", "SegFormer"]


class SegFormer(nn.Module):
    """SegFormer, with the encoder's normalizations to choose.

    Weights start as in the original: linears from a truncated normal with σ = 0.02, convolutions from a
    normal with σ² = 2 / fan-out (per group), the classifier from σ = 0.01; biases 0; norms γ = 1, β = 0,
    α = 0.5.

    Args:
        variant: "n" (2.6 M parameters) to "b5" (85 M), see `shape.SHAPES`, or a shape without a name.
        num_classes: K.
        patch_norm: norm after the overlap patch embeddings: "layer_norm", "dyt", "dyl" or "derf".
        block_norm: all other norms of the encoder. The decode head and stages of convolutions keep their BatchNorms.
        drop_path_rate: stochastic depth of the last block, growing linearly from 0.
        classifier_dropout: dropout before the classifier.
        norm_eps: epsilon of the LayerNorms.
        patch_centered: whether a patch norm other than LayerNorm takes the token's mean away first.
        block_centered: the same of the block norms.

    Attributes:
        shape: its widths, depths, kinds of stages and output stride.
        variant: the shape's name.
        embed_dims: channels of the four stages.
        output_stride: pixels of the image, along one axis, that one logit stands for: 4 or 8.

    Raises:
        ModelError: an unknown variant or norm, or a number out of range.
    """

    def __init__(
        self,
        variant: Variant | Shape,
        num_classes: int,
        patch_norm: Norm = "layer_norm",
        block_norm: Norm = "layer_norm",
        *,
        drop_path_rate: float = 0.1,
        classifier_dropout: float = 0.1,
        norm_eps: float = 1e-5,
        patch_centered: bool = False,
        block_centered: bool = False,
    ) -> None:
        super().__init__()
        self.shape = shape_of(variant)
        if num_classes < 1:
            raise ModelError(f"num_classes must be at least 1; found {num_classes}")
        for name, rate in (("drop_path_rate", drop_path_rate), ("classifier_dropout", classifier_dropout)):
            if not 0 <= rate < 1:
                raise ModelError(f"{name} must lie in [0, 1); found {rate}")
        self.variant = self.shape.name
        self.num_classes = num_classes
        self.patch_norm: Norm = patch_norm
        self.block_norm: Norm = block_norm
        self.drop_path_rate = drop_path_rate
        self.classifier_dropout = classifier_dropout
        self.norm_eps = norm_eps
        self.encoder = MixTransformer(
            self.shape, patch_norm, block_norm, drop_path_rate=drop_path_rate, norm_eps=norm_eps
        )
        self.patch_centered, self.block_centered = patch_centered, block_centered
        for name, module in self.encoder.named_modules():
            if isinstance(module, DynamicNorm):
                module.centered = patch_centered if name.endswith("patch_embedding.norm") else block_centered
        self.embed_dims = self.shape.embed_dims
        self.output_stride = self.shape.output_stride
        read = [self.embed_dims[stage] for stage in self.shape.head_stages]
        self.decode_head = DecodeHead(read, self.shape.decoder_width, num_classes, classifier_dropout)
        self._metadata = ModelMetadata.unnamed(num_classes)
        initialize_weights(self)
        nn.init.normal_(self.decode_head.classifier.weight, std=0.01)

    @property
    def metadata(self) -> ModelMetadata:
        """Classes, colours, normalization and input size that belong to the weights."""
        return self._metadata

    @metadata.setter
    def metadata(self, metadata: ModelMetadata) -> None:
        if metadata.num_classes != self.num_classes:
            raise ModelError(
                f"the metadata must name the model's {self.num_classes} classes; found {metadata.num_classes} names"
            )
        self._metadata = metadata

    @property
    def config(self) -> SimpleNamespace:
        """What it is, under transformers' names; a copy: changes of it change nothing.

        `num_labels`, `id2label`, `label2id`, `image_size` ((height, width) or None), `depths`, `hidden_sizes`,
        `decoder_hidden_size`, and `variant`, `patch_norm`, `block_norm`.
        """
        names = self.metadata.names
        return SimpleNamespace(
            model_type="segformer",
            num_labels=self.num_classes,
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
            image_size=self.metadata.image_size,
            depths=list(self.shape.depths),
            hidden_sizes=list(self.shape.embed_dims),
            decoder_hidden_size=self.shape.decoder_width,
            variant=self.variant,
            patch_norm=self.patch_norm,
            block_norm=self.block_norm,
        )

    @property
    def device(self) -> torch.device:
        """Where its weights lie."""
        return next(self.parameters()).device

    def num_parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, images: Tensor) -> Tensor:
        """Logits at a quarter of the images' size, or an eighth, as `output_stride` says.

        Args:
            images: (B, 3, H, W) normalized float, any H and W from 32 on, odd ones included.

        Returns:
            (B, K, ⌈H/stride⌉, ⌈W/stride⌉), unnormalized scores.

        Raises:
            ModelError: not a batch of three-channel float images, or a side under 32.
        """
        return self.decode(self.forward_features(images).feature_maps)

    def forward_features(self, images: Tensor) -> Features:
        """The encoder alone: the maps that `decode` turns into logits, and the patch embeddings.

        Args:
            images: (B, 3, H, W) as for `forward`.

        Returns:
            `Features`: feature_maps, 4 × (B, C, H, W), and patch_embeddings, 4 × (B, N, C), after the norm.

        Raises:
            ModelError: not a batch of three-channel float images, or a side under 32.
        """
        check_images(images)
        features: Features = self.encoder(images)
        return features

    def decode(self, feature_maps: Sequence[Tensor]) -> Tensor:
        """Logits (B, K, H, W) from the four `forward_features(images).feature_maps`, at `output_stride`."""
        logits: Tensor = self.decode_head([feature_maps[stage] for stage in self.shape.head_stages])
        return logits


def check_images(images: Tensor) -> None:
    """Refuse what the network cannot take.

    Raises:
        ModelError: not (B, 3, H, W), not floating point, or a side under 32.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ModelError(f"images must have the shape (B, 3, H, W); found {tuple(images.shape)}")
    if not images.is_floating_point():
        kind = str(images.dtype).removeprefix("torch.")
        raise ModelError(f"images must be normalized floats, see model.metadata.normalize; found {kind}")
    height, width = images.shape[2:]
    if height < LARGEST_STRIDE or width < LARGEST_STRIDE:
        raise ModelError(
            f"images must be at least {LARGEST_STRIDE}x{LARGEST_STRIDE} (the encoder's largest stride); "
            f"found {height}x{width}: enlarge or pad them"
        )


def initialize_weights(model: nn.Module) -> None:
    """Draw linears from a truncated normal, σ = 0.02, and convolutions from N(0, 2 / fan-out); biases 0."""
    for module in model.modules():
        match module:
            case nn.Linear():
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            case nn.Conv2d():
                kernel = module.kernel_size[0] * module.kernel_size[1]
                fan_out = kernel * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            case _:
                pass
