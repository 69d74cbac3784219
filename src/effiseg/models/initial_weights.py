"""Weights to start training from: a model, another publisher's checkpoint, or an encoder alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from effiseg.config.model import Norm, Variant
from effiseg.errors import ModelError, UsageError
from effiseg.files import read_json
from effiseg.models.checkpoint_names import own_names_of
from effiseg.models.folder import CONFIG_FILE, PICKLE_FILE, has_safetensors
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import TRANSFORMERS_EPS, existing_folder, from_pretrained, read_metadata
from effiseg.models.shape import SHAPES, Shape
from effiseg.models.weight_files import (
    Checkpoint,
    read_checkpoint,
    read_pickled_folder,
    read_weights,
    require_finite,
    weights_digest,
)

PUBLISHED_EPS = 1e-6
"""Epsilon of the LayerNorms in what NVlabs, mmsegmentation and segmentation_models_pytorch publish."""
_CLASSIFIER = "decode_head.classifier.weight"


@dataclass(frozen=True)
class InitialWeights:
    """Weights under our names, and what is known of the network they were trained in."""

    source: str
    """Where they come from."""
    publisher: str
    """Whose names the file had, and which of several networks in it was taken."""
    weights: dict[str, Tensor]
    """Our name → tensor on the CPU in float32."""
    variant: str
    """Size of the network, `SegFormer.variant`."""
    patch_norm: Norm
    """Norm after the patch embeddings."""
    block_norm: Norm
    """All other norms of the encoder."""
    norm_eps: float
    """Epsilon of the LayerNorms."""
    names: tuple[str, ...] | None
    """Classes in the order of the classifier; None for an encoder alone, or where they have no names."""
    unused: list[str]
    """Tensors of the file that SegFormer has no place for."""
    normalization: tuple[tuple[float, ...], tuple[float, ...]] | None
    """Mean and standard deviation the images had; None where unknown."""
    origin: str = ""
    """The origin that its config names."""
    patch_centered: bool = False
    """Whether the patch norms take the token's mean away."""
    block_centered: bool = False
    """The same of the block norms."""
    metadata: ModelMetadata | None = None
    """Everything that its folder says beside the weights; None for a file."""
    palette: tuple[tuple[int, int, int], ...] | None = None
    """Colors of `names`, where a file has them."""
    shape: Shape | None = None
    """Its shape; None: that of `variant`."""

    @property
    def digest(self) -> str:
        """Changes when any weight does."""
        return weights_digest(self.weights)

    @property
    def is_nvidia(self) -> bool:
        """Whether they are NVIDIA's, or made from NVIDIA's, by their names or their config.

        The MiT encoders of mmsegmentation and segmentation_models_pytorch are NVIDIA's in other names.
        """
        named = any(place.lower().startswith("nvidia/") for place in (self.source, self.origin))
        return named or self.publisher.startswith(("NVlabs", "mmsegmentation", "segmentation_models_pytorch"))

    @property
    def num_classes(self) -> int | None:
        """Rows of the classifier; None for an encoder alone."""
        return self.weights[_CLASSIFIER].shape[0] if _CLASSIFIER in self.weights else None


def read_initial_weights(source: str) -> InitialWeights:
    """Read weights to start from; nothing is executed, pickles give tensors and plain values alone.

    Args:
        source: a model folder, a transformers folder (of a whole SegFormer or of its encoder), a Hub id, or a file
            of weights under names that `own_names` knows.

    Raises:
        ModelError: nothing there, a broken file, weights that are not finite, or of another architecture.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return _from_checkpoint(source, read_checkpoint(path))
    folder = existing_folder(source, pickles=True)
    config = _read_config(folder)
    # A folder that holds both formats is read as from_pretrained reads it.
    pickled = not has_safetensors(folder)
    weights = {} if pickled else read_weights(folder)
    if _CLASSIFIER in weights:
        model = from_pretrained(folder)
        metadata = model.metadata
        return InitialWeights(
            source,
            "effiseg" if "effiseg" in config else "transformers",
            model.state_dict(),
            model.variant,
            model.patch_norm,
            model.block_norm,
            model.norm_eps,
            _given(metadata.names),
            [],
            (metadata.mean, metadata.std),
            str(config.get("_name_or_path") or ""),
            model.patch_centered,
            model.block_centered,
            metadata,
            shape=model.shape,
        )
    if config.get("model_type") != "segformer":
        raise ModelError(f"{folder / CONFIG_FILE}: model_type must be segformer; found {config.get('model_type')!r}")
    checkpoint = read_pickled_folder(folder, PICKLE_FILE) if pickled else Checkpoint({"": weights})
    read = _from_checkpoint(source, checkpoint)
    origin = str(config.get("_name_or_path") or "")
    if read.num_classes is None:
        return replace(read, origin=origin)
    metadata = read_metadata(config, read.num_classes, folder)
    return replace(read, origin=origin, metadata=metadata, names=_given(metadata.names))


def _given(names: tuple[str, ...]) -> tuple[str, ...] | None:
    """Names that were given; None for LABEL_0, LABEL_1, …"""
    return None if names == ModelMetadata.unnamed(len(names)).names else names


def _from_checkpoint(source: str, checkpoint: Checkpoint) -> InitialWeights:
    try:
        named = own_names_of(checkpoint.networks)
        variant = _variant(named.weights)
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from None
    require_finite(named.weights, source)
    # What transformers runs has its epsilon, and what we train starts from the same one.
    eps = TRANSFORMERS_EPS if named.publisher.startswith(("transformers", "effiseg")) else PUBLISHED_EPS
    classifier = named.weights.get(_CLASSIFIER)
    rows = None if classifier is None else classifier.shape[0]
    shape = SHAPES[variant]
    if classifier is not None and classifier.ndim == 4 and classifier.shape[1] > 0:
        shape = replace(shape, decoder_width=classifier.shape[1])  # smp's is 256 at every size
    names = checkpoint.names if checkpoint.names is not None and len(checkpoint.names) == rows else None
    palette = checkpoint.palette if checkpoint.palette is not None and len(checkpoint.palette) == rows else None
    return InitialWeights(
        source,
        named.publisher,
        named.weights,
        variant,
        "layer_norm",
        "layer_norm",
        eps,
        None if names is None else _given(names),
        named.unused,
        None,
        palette=palette if names is not None else None,
        shape=shape,
    )


def _variant(weights: Mapping[str, Tensor]) -> Variant:
    """The size of network whose widths and depths the weights have.

    Raises:
        ModelError: none.
    """
    widths = tuple(tensor.shape[0] for name, tensor in weights.items() if name.endswith(".patch_embedding.proj.weight"))
    blocks = {found[1] for name in weights if (found := re.match(r"encoder\.stages\.(\d\.blocks\.\d+)\.", name))}
    depths = tuple(sum(block.startswith(f"{stage}.") for block in blocks) for stage in range(4))
    for variant, shape in SHAPES.items():
        if (shape.embed_dims, shape.depths) == (widths, depths):
            return variant
    raise ModelError(
        f"widths and depths must be those of one of {', '.join(SHAPES)}; found {list(widths)}, {list(depths)}"
    )


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = read_json(folder / CONFIG_FILE)
    except UsageError as error:
        raise ModelError(f"{error}; a model folder has one") from None
    return config if isinstance(config, dict) else {}
