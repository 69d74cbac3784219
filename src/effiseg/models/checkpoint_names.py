"""The names under which others publish SegFormer weights, and how their tensors become ours.

Publishers known, for the whole network or for an encoder alone:

    transformers      encoder.patch_embeddings.0.proj      encoder.block.0.0.attention.self.query
    transformers 5    stages.0.patch_embeddings.proj       stages.0.blocks.0.attention.q_proj (in memory)
    NVlabs            patch_embed1.proj                    block1.0.attn.q, kv (key above value)
    smp               encoder.patch_embed1.proj            as NVlabs; the decoder's stages counted from the last
    mmsegmentation    layers.0.0.projection                layers.0.1.0.attn.attn.in_proj (query, key, value)
    effiseg           encoder.stages.0.patch_embedding     encoder.stages.0.blocks.0.attention.query

Whatever stands before them, as `module.`, `model.` or `student._orig_mod.`, is a wrapper's. The MLP of
mmsegmentation's blocks is made of 1x1 convolutions, and its decode head has a normalization in every branch, which
SegFormer as published has not: of its files only the encoder can be used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from effiseg.errors import ModelError
from effiseg.models.classic_names import CLASSIC_BLOCK_NAMES

_LAST_STAGE = 3


@dataclass(frozen=True)
class _Naming:
    """How one publisher calls the layers."""

    publisher: str
    """The publisher of the names."""
    wrapper: str
    """Pattern of what may stand before an encoder's names."""
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
    sign: str = field(default="")
    """Pattern of a name that shows the publisher; default: the patch embedding's convolution."""
    last_stage_first: bool = False
    """Whether the head's numbers count the stages from the last."""


_TRANSFORMERS_HEAD = {
    r"decode_head\.linear_fuse": "linear_fuse",
    r"decode_head\.batch_norm": "batch_norm",
    r"decode_head\.classifier": "classifier",
}
_TRANSFORMERS = _Naming(
    "transformers",
    r"(?:segformer\.)?",
    0,
    r"encoder\.patch_embeddings\.(\d)\.proj",
    r"encoder\.patch_embeddings\.(\d)\.layer_norm",
    r"encoder\.layer_norm\.(\d)",
    r"encoder\.block\.(\d)\.(\d+)\.(.+)",
    {theirs: (ours,) for ours, theirs in CLASSIC_BLOCK_NAMES.items()},
    {r"decode_head\.linear_c\.(\d)\.proj": "linear_c.{}.proj", **_TRANSFORMERS_HEAD},
)
_TRANSFORMERS_5 = _Naming(
    "transformers",
    r"(?:segformer\.)?",
    0,
    r"stages\.(\d)\.patch_embeddings\.proj",
    r"stages\.(\d)\.patch_embeddings\.layer_norm",
    r"stages\.(\d)\.layer_norm",
    r"stages\.(\d)\.blocks\.(\d+)\.(.+)",
    {
        "layernorm_before": ("norm1",),
        "attention.q_proj": ("attention.query",),
        "attention.k_proj": ("attention.key",),
        "attention.v_proj": ("attention.value",),
        "attention.o_proj": ("attention.output",),
        "attention.sequence_reduction.sequence_reduction": ("attention.reduction",),
        "attention.sequence_reduction.layer_norm": ("attention.reduction_norm",),
        "layernorm_after": ("norm2",),
        "mlp.fc1": ("mlp.fc1",),
        "mlp.dwconv.dwconv": ("mlp.dwconv",),
        "mlp.fc2": ("mlp.fc2",),
    },
    {r"decode_head\.linear_projections\.(\d)\.proj": "linear_c.{}.proj", **_TRANSFORMERS_HEAD},
)
_NVLABS_LAYERS = {
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
}
_NVLABS = _Naming(
    "NVlabs",
    r"(?:backbone\.|encoder\.|segformer\.)?",
    1,
    r"patch_embed(\d)\.proj",
    r"patch_embed(\d)\.norm",
    r"norm(\d)",
    r"block(\d)\.(\d+)\.(.+)",
    _NVLABS_LAYERS,
    {
        r"decode_head\.linear_c(\d)\.proj": "linear_c.{}.proj",
        r"decode_head\.linear_fuse\.conv": "linear_fuse",
        r"decode_head\.linear_fuse\.bn": "batch_norm",
        r"decode_head\.linear_pred": "classifier",
    },
)
_SMP = _Naming(
    "segmentation_models_pytorch",
    r"encoder\.",
    1,
    _NVLABS.patch_projection,
    _NVLABS.patch_norm,
    _NVLABS.stage_norm,
    _NVLABS.block,
    _NVLABS_LAYERS,
    {
        r"decoder\.mlp_stage\.(\d)\.linear": "linear_c.{}.proj",
        r"decoder\.fuse_stage\.0": "linear_fuse",
        r"decoder\.fuse_stage\.1": "batch_norm",
        r"segmentation_head\.0": "classifier",
    },
    sign=r"decoder\.mlp_stage\.0\.linear",
    last_stage_first=True,
)
_MMSEGMENTATION = _Naming(
    "mmsegmentation",
    r"(?:backbone\.)?",
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
_EFFISEG = _Naming(
    "effiseg",
    "",
    0,
    r"encoder\.stages\.(\d)\.patch_embedding\.proj",
    r"encoder\.stages\.(\d)\.patch_embedding\.norm",
    r"encoder\.stages\.(\d)\.norm",
    r"encoder\.stages\.(\d)\.blocks\.(\d+)\.(.+)",
    {ours: (ours,) for ours in CLASSIC_BLOCK_NAMES},
    {r"decode_head\.linear_c\.(\d)\.proj": "linear_c.{}.proj", **_TRANSFORMERS_HEAD},
)
_NAMINGS = (_TRANSFORMERS, _TRANSFORMERS_5, _EFFISEG, _SMP, _NVLABS, _MMSEGMENTATION)
_LEAF = re.compile(r"(.+?)[._](weight|bias|running_mean|running_var|num_batches_tracked)")
_SPLICED = re.compile(r"(?:(?<=\.)|^)(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Parts of names that torch's wrappers put in wherever they stand."""
_PREFERRED = ("ema", "swa", "average", "averaged", "student")  # of several networks in one file
_OTHERS = ("teacher", "optim", "discriminator")


@dataclass(frozen=True)
class NamedWeights:
    """A checkpoint under our names."""

    publisher: str
    """Whose names it had."""
    weights: dict[str, Tensor]
    """Our name → tensor in float32, in the order of our names."""
    unused: list[str]
    """Names in the checkpoint for which SegFormer has no place, such as an ImageNet classifier."""


@dataclass(frozen=True)
class _Found:
    """A network in a file: where it lies and what its names begin with."""

    place: str
    prefix: str
    naming: _Naming

    @property
    def path(self) -> str:
        """Everything before the publisher's own names."""
        return f"{self.place}.{self.prefix}".strip(".")


def own_names(weights: Mapping[str, Tensor]) -> NamedWeights:
    """Bring a checkpoint's tensors under our names.

    Args:
        weights: a state dict with the names of one of the publishers, a wrapper's before them.

    Raises:
        ModelError: the names are of none of them, or the network has norms that are no LayerNorms.
    """
    return own_names_of({"": weights})


def own_names_of(networks: Mapping[str, Mapping[str, Tensor]]) -> NamedWeights:
    """Bring the tensors of one network in a file under our names.

    Args:
        networks: place in the file → state dict there. Of several networks an average is taken before the student,
            and that before any other but a teacher; the publisher says which.

    Raises:
        ModelError: see `own_names`.
    """
    found = [network for place, weights in networks.items() for network in _networks(place, weights)]
    if not found:
        some = ", ".join(name for weights in list(networks.values())[:1] for name in list(weights)[:4])
        raise ModelError(
            "weights must have the names of effiseg, transformers, NVlabs, segmentation_models_pytorch or "
            f"mmsegmentation; found {some or 'nothing'}"
        )
    chosen = min(found, key=_rank)
    naming, weights = chosen.naming, networks[chosen.place]
    renamed: dict[str, Tensor] = {}
    unused = []
    for original, tensor in weights.items():
        whole = _SPLICED.sub("", original)
        name = whole.removeprefix(chosen.prefix)
        pieces = _own_pieces(naming, name, tensor) if whole.startswith(chosen.prefix) else {}
        renamed |= pieces
        if not pieces:
            unused.append(original)
            if name.endswith(".alpha") and _own_layers(naming, name.removesuffix(".alpha")):
                raise ModelError(
                    f"a file alone cannot say which norms its network has, and {original} is of none of LayerNorm's: "
                    "give the model folder"
                )
    publisher = naming.publisher
    if len(found) > 1:
        others = ", ".join(network.path or "the top" for network in found if network != chosen)
        publisher += f", {chosen.path or 'the top'} of several networks ({others})"
    return NamedWeights(publisher, dict(sorted(renamed.items())), unused)


def _networks(place: str, weights: Mapping[str, Tensor]) -> list[_Found]:
    """Every network whose first patch embedding the names show."""
    found: dict[str, _Found] = {}
    for naming in _NAMINGS:
        sign = naming.sign or naming.wrapper + naming.patch_projection
        pattern = re.compile(rf"((?:.*?\.)??){sign}\.weight")
        for name in weights:
            if match := pattern.fullmatch(_SPLICED.sub("", name)):
                found.setdefault(match[1], _Found(place, match[1], naming))  # smp's names hold NVlabs'
    return list(found.values())


def _rank(network: _Found) -> tuple[bool, int]:
    """The order in which networks of one file are taken."""
    words = re.split(r"[._]", network.path.lower())
    other = any(word.startswith(_OTHERS) for word in words)
    preferred = [place for place, wanted in enumerate(_PREFERRED) if wanted in words]
    return other, min(preferred, default=len(_PREFERRED))


def _own_pieces(naming: _Naming, name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Our names and tensors for one of theirs; empty where SegFormer has no such layer."""
    if naming is _EFFISEG:
        part = name.startswith(("encoder.stages.", "decode_head.")) and not name.endswith(".alpha")
        return {name: tensor.float() if tensor.is_floating_point() else tensor.clone()} if part else {}
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
        if found := re.fullmatch(naming.wrapper + pattern, layer):
            return (f"encoder.stages.{int(found[1]) - naming.first_stage}.{ours}",)
    if found := re.fullmatch(naming.wrapper + naming.block, layer):
        stage, block = int(found[1]) - naming.first_stage, found[2]
        return tuple(f"encoder.stages.{stage}.blocks.{block}.{ours}" for ours in naming.layers.get(found[3], ()))
    for pattern, ours in naming.head.items():
        if found := re.fullmatch(pattern, layer):
            return (f"decode_head.{ours.format(*(_head_stage(naming, int(number)) for number in found.groups()))}",)
    return ()


def _head_stage(naming: _Naming, number: int) -> int:
    return _LAST_STAGE - number if naming.last_stage_first else number - naming.first_stage
