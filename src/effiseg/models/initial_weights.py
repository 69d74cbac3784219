"""Weights to start training from: a model, another publisher's checkpoint, or an encoder alone."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from effiseg.config.model import Norm, Variant
from effiseg.errors import ModelError, UsageError
from effiseg.files import read_json
from effiseg.models.checkpoint_names import own_names
from effiseg.models.folder import CONFIG_FILE, has_safetensors
from effiseg.models.metadata import ModelMetadata
from effiseg.models.mix_transformer import ENCODER_SIZES
from effiseg.models.pretrained import (
    PICKLE_FILE,
    TRANSFORMERS_EPS,
    existing_folder,
    from_pretrained,
    read_weights,
    weights_digest,
)

CHECKPOINT_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")
"""Ends of files with weights alone."""
PUBLISHED_EPS = 1e-6
"""Epsilon of the LayerNorms in what NVlabs and mmsegmentation publish."""
_CLASSIFIER = "decode_head.classifier.weight"


@dataclass(frozen=True)
class InitialWeights:
    """Weights under our names, and what is known of the network they were trained in."""

    source: str
    """Where they come from."""
    publisher: str
    """Whose names the file had: effiseg, transformers, NVlabs or mmsegmentation."""
    weights: dict[str, Tensor]
    """Our name → tensor on the CPU in float32."""
    variant: Variant
    """Size of the network."""
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

    @property
    def digest(self) -> str:
        """Changes when any weight does."""
        return weights_digest(self.weights)

    @property
    def is_nvidia(self) -> bool:
        """Whether they are NVIDIA's, or made from NVIDIA's, by their names or their config.

        mmsegmentation's MiT encoders are NVIDIA's in other names.
        """
        named = any(place.lower().startswith("nvidia/") for place in (self.source, self.origin))
        return named or self.publisher.startswith(("NVlabs", "mmsegmentation"))

    @property
    def num_classes(self) -> int | None:
        """Rows of the classifier; None for an encoder alone."""
        return self.weights[_CLASSIFIER].shape[0] if _CLASSIFIER in self.weights else None


def read_initial_weights(source: str) -> InitialWeights:
    """Read weights to start from; nothing is executed, pickles give tensors and plain values alone.

    Args:
        source: a model folder, a transformers folder (of a whole SegFormer or of its encoder), a Hub id, or a file
            of weights under the names of transformers, NVlabs or mmsegmentation.

    Raises:
        ModelError: nothing there, a broken file, or weights of another architecture.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return _from_checkpoint(source, _read_checkpoint(path), PUBLISHED_EPS, None)
    folder = existing_folder(source, pickles=True)
    config = _read_config(folder)
    # A folder that holds both formats is read as from_pretrained reads it.
    weights = read_weights(folder) if has_safetensors(folder) else _read_checkpoint(folder / PICKLE_FILE)
    if _CLASSIFIER in weights and has_safetensors(folder):
        model = from_pretrained(folder)
        metadata = model.metadata
        unnamed = metadata.names == ModelMetadata.unnamed(metadata.num_classes).names
        return InitialWeights(
            source,
            "effiseg" if "effiseg" in config else "transformers",
            model.state_dict(),
            model.variant,
            model.patch_norm,
            model.block_norm,
            model.norm_eps,
            None if unnamed else metadata.names,
            [],
            (metadata.mean, metadata.std),
            str(config.get("_name_or_path") or ""),
            model.patch_centered,
            model.block_centered,
        )
    if config.get("model_type") != "segformer":
        raise ModelError(f"{folder / CONFIG_FILE}: model_type must be segformer; found {config.get('model_type')!r}")
    labels = config.get("id2label") or {}
    read = _from_checkpoint(source, weights, TRANSFORMERS_EPS, labels)
    return replace(read, origin=str(config.get("_name_or_path") or ""))


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of weights, a training checkpoint's `state_dict` among them.

    Raises:
        ModelError: no such file, another format, a broken file, or a pickle that is more than tensors.
    """
    if path.suffix not in CHECKPOINT_SUFFIXES:
        raise ModelError(f"{path}: a file of weights ends in {', '.join(CHECKPOINT_SUFFIXES)}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{path}: not a whole file of weights ({reason}): copy it again") from None
    except pickle.UnpicklingError:
        raise ModelError(
            f"{path}: holds more than tensors and plain values, which would run code, and is not opened; load it where "
            "you trust it and save its state_dict alone"
        ) from None
    for key in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping):
        raise ModelError(f"{path}: must hold names and tensors; found {type(found).__name__}")
    return {str(name): tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}


def _from_checkpoint(
    source: str, tensors: Mapping[str, Tensor], eps: float, labels: Mapping[str, Any] | None
) -> InitialWeights:
    try:
        named = own_names(tensors)
        variant = _variant(named.weights)
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from None
    classifier = named.weights.get(_CLASSIFIER)
    names = None
    if classifier is not None and labels and set(labels) == {str(index) for index in range(classifier.shape[0])}:
        names = tuple(str(labels[str(index)]) for index in range(classifier.shape[0]))
        names = None if names == ModelMetadata.unnamed(len(names)).names else names
    eps = TRANSFORMERS_EPS if named.publisher == "transformers" else eps
    return InitialWeights(
        source, named.publisher, named.weights, variant, "layer_norm", "layer_norm", eps, names, named.unused, None
    )


def _variant(weights: Mapping[str, Tensor]) -> Variant:
    """The size of network whose widths and depths the weights have.

    Raises:
        ModelError: none.
    """
    widths = tuple(tensor.shape[0] for name, tensor in weights.items() if name.endswith(".patch_embedding.proj.weight"))
    blocks = {found[1] for name in weights if (found := re.match(r"encoder\.stages\.(\d\.blocks\.\d+)\.", name))}
    depths = tuple(sum(block.startswith(f"{stage}.") for block in blocks) for stage in range(4))
    for variant, size in ENCODER_SIZES.items():
        if (size.embed_dims, size.depths) == (widths, depths):
            return variant
    raise ModelError(
        f"widths and depths must be those of one of {', '.join(ENCODER_SIZES)}; found {list(widths)}, {list(depths)}"
    )


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = read_json(folder / CONFIG_FILE)
    except UsageError as error:
        raise ModelError(f"{error}; a model folder has one") from None
    return config if isinstance(config, dict) else {}
