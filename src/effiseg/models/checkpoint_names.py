"""The names under which others publish SegFormer weights, and how their tensors become ours.

Three publishers are known, for the whole network or for an encoder alone:

    transformers      encoder.patch_embeddings.0.proj      encoder.block.0.0.attention.self.query
    NVlabs            patch_embed1.proj                    block1.0.attn.q, kv (key above value)
    mmsegmentation    layers.0.0.projection                layers.0.1.0.attn.attn.in_proj (query, key, value)

The MLP of mmsegmentation's blocks is made of 1x1 convolutions, and its decode head has a normalization in every
branch, which SegFormer as published has not: of its files only the encoder can be used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from effiseg.errors import ModelError
from effiseg.models.pretrained import CLASSIC_BLOCK_NAMES


@dataclass(frozen=True)
class _Naming:
    """How one publisher calls the layers."""

    publisher: str
    """The publisher of the names."""
    first_stage: int
    """Number of the first stage in names."""
    patch_projection: str
    """Pattern of a patch embedding's convolution; its group is the stage."""
    patch_norm: str
    """Pattern of the norm after it."""
    stage_norm: str
    """Pattern of the norm at the end of a stage."""
    block: str
    """Pattern of a block's layer; its groups are stage, block and layer."""
    layers: Mapping[str, tuple[str, ...]]
    """A block's layers: their name → ours; several where one tensor holds them on top of each other."""
    head: Mapping[str, str]
    """Patterns of the decode head's layers → ours, with a place for the stage."""


_TRANSFORMERS = _Naming(
    "transformers",
    0,
    r"encoder\.patch_embeddings\.(\d)\.proj",
    r"encoder\.patch_embeddings\.(\d)\.layer_norm",
    r"encoder\.layer_norm\.(\d)",
    r"encoder\.block\.(\d)\.(\d+)\.(.+)",
    {theirs: (ours,) for ours, theirs in CLASSIC_BLOCK_NAMES.items()},
    {
        r"decode_head\.linear_c\.(\d)\.proj": "linear_c.{}.proj",
        r"decode_head\.linear_fuse": "linear_fuse",
        r"decode_head\.batch_norm": "batch_norm",
        r"decode_head\.classifier": "classifier",
    },
)
_NVLABS = _Naming(
    "NVlabs",
    1,
    r"patch_embed(\d)\.proj",
    r"patch_embed(\d)\.norm",
    r"norm(\d)",
    r"block(\d)\.(\d+)\.(.+)",
    {
        "norm1": ("norm1",),
        "attn.q": ("attention.query",),
        "attn.kv": ("attention.key", "attention.value"),
        "attn.proj": ("attention.output",),
        "attn.sr": ("attention.reduction",),
        "attn.norm": ("attention.reduction_norm",),
        "norm2": ("norm2",),
        "mlp.fc1": ("mlp.fc1",),
        "mlp.dwconv.dwconv": ("mlp.dwconv",),
        "mlp.fc2": ("mlp.fc2",),
    },
    {
        r"decode_head\.linear_c(\d)\.proj": "linear_c.{}.proj",
        r"decode_head\.linear_fuse\.conv": "linear_fuse",
        r"decode_head\.linear_fuse\.bn": "batch_norm",
        r"decode_head\.linear_pred": "classifier",
    },
)
_MMSEGMENTATION = _Naming(
    "mmsegmentation",
    0,
    r"layers\.(\d)\.0\.projection",
    r"layers\.(\d)\.0\.norm",
    r"layers\.(\d)\.2",
    r"layers\.(\d)\.1\.(\d+)\.(.+)",
    {
        "norm1": ("norm1",),
        "attn.attn.in_proj": ("attention.query", "attention.key", "attention.value"),
        "attn.attn.out_proj": ("attention.output",),
        "attn.sr": ("attention.reduction",),
        "attn.norm": ("attention.reduction_norm",),
        "norm2": ("norm2",),
        "ffn.layers.0": ("mlp.fc1",),
        "ffn.layers.1": ("mlp.dwconv",),
        "ffn.layers.4": ("mlp.fc2",),
    },
    {},
)
_WRAPPERS = re.compile(r"(module\.)?(backbone\.|segformer\.)?")
_LEAF = re.compile(r"(.+?)[._](weight|bias|running_mean|running_var|num_batches_tracked)")


@dataclass(frozen=True)
class NamedWeights:
    """A checkpoint under our names."""

    publisher: str
    """Whose names it had."""
    weights: dict[str, Tensor]
    """Our name → tensor in float32, in the order of our names."""
    unused: list[str]
    """Names in the checkpoint for which SegFormer has no place, such as an ImageNet classifier."""


def own_names(weights: Mapping[str, Tensor]) -> NamedWeights:
    """Bring a checkpoint's tensors under our names.

    Args:
        weights: a state dict with the names of transformers, NVlabs or mmsegmentation.

    Raises:
        ModelError: the names are of none of the three.
    """
    plain = {_WRAPPERS.sub("", name, count=1): name for name in weights}
    for naming in (_TRANSFORMERS, _NVLABS, _MMSEGMENTATION):
        if any(re.fullmatch(naming.patch_projection + r"\.weight", name) for name in plain):
            break
    else:
        some = ", ".join(list(weights)[:4])
        raise ModelError(
            f"weights must have the names of effiseg, transformers, NVlabs or mmsegmentation; found {some or 'nothing'}"
        )
    renamed: dict[str, Tensor] = {}
    unused = []
    for name, original in plain.items():
        pieces = _own_pieces(naming, name, weights[original])
        renamed |= pieces
        if not pieces:
            unused.append(original)
    return NamedWeights(naming.publisher, dict(sorted(renamed.items())), unused)


def _own_pieces(naming: _Naming, name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Our names and tensors for one of theirs; empty where SegFormer has no such layer."""
    leaf = _LEAF.fullmatch(name)
    layers = () if leaf is None else _own_layers(naming, leaf[1])
    if leaf is None or not layers or (tensor.ndim > 0 and tensor.shape[0] % len(layers)):
        return {}
    if tensor.is_floating_point():
        tensor = tensor.float()
    if tensor.ndim == 4 and layers[0].endswith((".mlp.fc1", ".mlp.fc2")):
        tensor = tensor.flatten(1)  # a 1x1 convolution is a linear layer
    parts = tensor.chunk(len(layers)) if len(layers) > 1 else (tensor,)
    # Parts are copied, or saving one would write the whole.
    return {f"{layer}.{leaf[2]}": part.clone() for layer, part in zip(layers, parts, strict=True)}


def _own_layers(naming: _Naming, layer: str) -> tuple[str, ...]:
    for pattern, ours in (
        (naming.patch_projection, "patch_embedding.proj"),
        (naming.patch_norm, "patch_embedding.norm"),
        (naming.stage_norm, "norm"),
    ):
        if found := re.fullmatch(pattern, layer):
            return (f"encoder.stages.{int(found[1]) - naming.first_stage}.{ours}",)
    if found := re.fullmatch(naming.block, layer):
        stage, block = int(found[1]) - naming.first_stage, found[2]
        return tuple(f"encoder.stages.{stage}.blocks.{block}.{ours}" for ours in naming.layers.get(found[3], ()))
    for pattern, ours in naming.head.items():
        if found := re.fullmatch(pattern, layer):
            stages = [int(number) - naming.first_stage for number in found.groups()]
            return (f"decode_head.{ours.format(*stages)}",)
    return ()
