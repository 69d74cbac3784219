"""Model folders: `config.json` and `model.safetensors`, in the form transformers knows.

Files keep transformers' classic names (`segformer.encoder.block.0.0.attention.self.query.weight`), so that a
LayerNorm model written here is one of its SegFormers and one of its SegFormers loads here. What it cannot run
as trained carries a model_type it does not know: DyT and DyL, and LayerNorms with an epsilon other than
1e-5, which it uses whatever `layer_norm_eps` says; and shapes with an output stride of 8 or stages of convolutions.
Our own facts stand in the config's section `effiseg`.
Pickles are never opened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor

from effiseg.config.model import Norm
from effiseg.errors import ModelError, UsageError
from effiseg.files import atomic_path, read_json, write_json
from effiseg.models.checkpoint_names import own_names
from effiseg.models.classic_names import classic_name
from effiseg.models.folder import (
    CONFIG_FILE,
    NESTED_PROCESSOR_FILE,
    PICKLE_INDEX_FILE,
    PREPROCESSOR_FILE,
    SHARDS_FILE,
    WEIGHTS_FILE,
    has_safetensors,
)
from effiseg.models.metadata import ONE_LOGIT, ModelMetadata
from effiseg.models.processor import processor_config, with_processor
from effiseg.models.segformer import SegFormer
from effiseg.models.shape import PATCH_SIZES, SHAPES, STAGES, STRIDES, Shape
from effiseg.models.weight_files import few, read_weights, require_finite

TRANSFORMERS_TYPE = "segformer"
OWN_TYPE = "effiseg_segformer"
TRANSFORMERS_EPS = 1e-5
# transformers' Auto classes refuse an unknown model_type; SegformerForSemanticSegmentation only warns, and
# would run a DyT model with LayerNorms. It does refuse an activation it does not know, and quotes its name.
OWN_ACTIVATION = "gelu: an effiseg model, load it with effiseg.from_pretrained"

FIXED_FIELDS: dict[str, Any] = {
    "num_channels": 3,
    "num_encoder_blocks": STAGES,
    "patch_sizes": list(PATCH_SIZES),
    "strides": list(STRIDES),
    "hidden_act": "gelu",
    "reshape_last_stage": True,
}
"""Fields of transformers' config that every SegFormer shares."""

SHAPE_FIELDS = {
    "embed_dims": "hidden_sizes",
    "depths": "depths",
    "heads": "num_attention_heads",
    "reductions": "sr_ratios",
    "mlp_ratios": "mlp_ratios",
    "decoder_width": "decoder_hidden_size",
}
"""Fields of a shape and what transformers' config calls them; where it says nothing, those of B0 hold."""
OWN_SHAPE_FIELDS = ("stages", "output_stride")
"""Fields of a shape that it does not have; the section `effiseg` says them where they are not SegFormer's."""
Network = TypeVar("Network", bound=SegFormer)


def save_pretrained(model: SegFormer, folder: str | Path) -> None:
    """Write `model.safetensors`, `preprocessor_config.json` and `config.json`, each atomically, in this order.

    The config holds the architecture, the classes, palette, label mapping, normalization and input size; the
    processor's file says the last two to transformers (`processor_config`).

    Args:
        model: on any device.
        folder: made if it does not exist; a model in it is replaced.

    Raises:
        ResourceError: the folder cannot be written.
    """
    tensors = {classic_name(name): value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    target = Path(folder)
    with atomic_path(target / WEIGHTS_FILE) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    (target / NESTED_PROCESSOR_FILE).unlink(missing_ok=True)  # of the model before, it would win
    write_json(target / PREPROCESSOR_FILE, processor_config(model.metadata))
    write_json(target / CONFIG_FILE, model_config(model))


def from_pretrained(folder: str | os.PathLike[str]) -> SegFormer:
    """Load a model folder, written by `save_pretrained` or by transformers, or one of the Hugging Face Hub.

    Dropout inside transformers' encoder (0 in every published SegFormer) is not carried over; weights of less
    precision are widened to float32. The generator of random numbers is not touched.

    Args:
        folder: a model folder, a run folder, else a Hub id such as "nvidia/segformer-b0-finetuned-ade-512-512".

    Returns:
        The model on the CPU in float32 and evaluation mode, its `metadata` filled.

    Raises:
        ModelError: no such folder or Hub model, a file missing or broken, weights only as a pickle, another
            architecture, keys that do not match (all are named up to a few; nothing is loaded in part), weights that
            are not finite, or metadata that break a rule.
    """
    return load_model(folder, SegFormer)


def load_model(folder: str | os.PathLike[str], kind: type[Network]) -> Network:
    """`from_pretrained`, as a subclass of SegFormer.

    Args:
        folder: see there.
        kind: the class of what is returned.

    Raises:
        ModelError: see there.
    """
    path = existing_folder(os.fspath(folder))
    config_path = path / CONFIG_FILE
    if not config_path.is_file():
        raise ModelError(
            f"{path}: a model folder needs {CONFIG_FILE} and {WEIGHTS_FILE}; found no {CONFIG_FILE}: give "
            "the folder that save_pretrained wrote, or a finished run"
        )
    try:
        config = read_json(config_path)
    except UsageError as error:
        raise ModelError(str(error)) from None
    if not isinstance(config, dict):
        raise ModelError(f"{config_path}: must hold a JSON object; found {type(config).__name__}")
    if not isinstance(config.get("effiseg") or {}, dict):
        raise ModelError(f"{config_path}: effiseg must be a section; found {config['effiseg']!r}")
    weights = _in_file_names(read_weights(path))
    model = build_model(config, weights, config_path, kind)
    _load_strictly(model, weights, path)
    model.metadata = read_metadata(config, model.num_classes, path)
    return model.eval()


def _in_file_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names that files have, where they were saved under those of transformers 5 in memory.

    What else they may be is left as it is, for the errors that name it.
    """
    if classic_name("encoder.stages.0.patch_embedding.proj.weight") in weights:
        return weights
    try:
        named = own_names(weights)
    except ModelError:
        return weights
    return weights if named.unused else {classic_name(name): tensor for name, tensor in named.weights.items()}


def model_config(model: SegFormer) -> dict[str, Any]:
    """The content of `config.json`: transformers' fields for a SegFormer, and ours in the section `effiseg`."""
    layer_norms = model.patch_norm == model.block_norm == "layer_norm"
    own_shape = {name: _plain(getattr(model.shape, name)) for name in OWN_SHAPE_FIELDS}
    if own_shape == {name: _plain(getattr(SHAPES["b0"], name)) for name in OWN_SHAPE_FIELDS}:
        own_shape = {}
    portable = layer_norms and model.norm_eps == TRANSFORMERS_EPS and not own_shape
    metadata = model.metadata
    return {
        "architectures": ["SegformerForSemanticSegmentation" if portable else "EffisegSegFormer"],
        "model_type": TRANSFORMERS_TYPE if portable else OWN_TYPE,
        **FIXED_FIELDS,
        "hidden_act": FIXED_FIELDS["hidden_act"] if portable else OWN_ACTIVATION,
        **{theirs: _plain(getattr(model.shape, ours)) for ours, theirs in SHAPE_FIELDS.items()},
        "drop_path_rate": model.drop_path_rate,
        "classifier_dropout_prob": model.classifier_dropout,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.02,
        "layer_norm_eps": model.norm_eps,
        "semantic_loss_ignore_index": metadata.ignore_index,
        "id2label": {str(index): name for index, name in enumerate(metadata.names)},
        "label2id": {name: index for index, name in enumerate(metadata.names)},
        "dtype": str(model.decode_head.classifier.weight.dtype).removeprefix("torch."),
        "effiseg": {
            "variant": model.variant,
            **own_shape,
            "patch_norm": model.patch_norm,
            "block_norm": model.block_norm,
            "norm_eps": model.norm_eps,
            **{key: True for key in ("patch_centered", "block_centered") if getattr(model, key)},
            "metadata": metadata.to_dict(),
        },
    }


def existing_folder(folder: str | Path, *, pickles: bool = False) -> Path:
    """The folder of a model here, or of a snapshot of the Hugging Face Hub's, which is fetched.

    Args:
        folder: an existing folder, also a run's, or a Hub id.
        pickles: fetch weights as a pickle where the Hub has no others; who asks must open them as tensors alone.

    Raises:
        ModelError: neither.
    """
    path = Path(folder).expanduser()
    if path.is_dir():
        of_run = path / "model"
        return path if (path / CONFIG_FILE).is_file() or not (of_run / CONFIG_FILE).is_file() else of_run
    if path.is_file():
        raise ModelError(
            f"{path}: a model is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}; found a file: of weights one is made "
            f"by `effiseg convert {path} --out DIR`"
        )
    if not isinstance(folder, str) or not re.fullmatch(r"[\w.-]+/[\w.-]+", folder) or folder.startswith("."):
        raise ModelError(f"{folder}: no such model folder, and not the form of a Hub id (owner/name)")
    return _download(folder, pickles)


def _download(hub_id: str, pickles: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    # Only what is read is fetched: a repository's pickles stay where they are.
    patterns = [CONFIG_FILE, "*.safetensors", SHARDS_FILE, PREPROCESSOR_FILE, NESTED_PROCESSOR_FILE]
    try:
        path = Path(snapshot_download(hub_id, allow_patterns=patterns))
        if pickles and not has_safetensors(path):
            path = Path(snapshot_download(hub_id, allow_patterns=[*patterns, "pytorch_model*.bin", PICKLE_INDEX_FILE]))
        return path
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()
        raise ModelError(
            f"{hub_id}: no such folder here, and the Hugging Face Hub does not give it "
            f"({reason[0] if reason else type(error).__name__}): check the name and the connection"
        ) from None


def build_model(config: Mapping[str, Any], weights: Mapping[str, Tensor], source: Path, kind: type[Network]) -> Network:
    """The network that a config describes, on the CPU, its weights not yet set.

    Args:
        config: content of config.json.
        weights: of the network; the classifier says the number of classes.
        source: the file, for the error's text.
        kind: SegFormer, or a subclass.

    Raises:
        ModelError: another architecture, no classifier, or one logit.
    """
    classifier = weights.get("decode_head.classifier.weight")
    if classifier is None or classifier.ndim == 0:
        raise ModelError(
            f"{source.parent}: a segmentation model has decode_head.classifier.weight; found none among "
            f"{len(weights)} keys (an encoder or a classifier alone cannot be loaded)"
        )
    if classifier.shape[0] == 1:
        raise ModelError(f"{source.parent}: a model has 2 classes or more; found {ONE_LOGIT}")
    try:
        patch_norm, block_norm, eps = _norms(config)
        # Built on the meta device: nothing is drawn only to be overwritten, and the caller's random numbers
        # do not depend on whether a model was loaded before.
        with torch.device("meta"):
            model = kind(
                _shape(config),
                classifier.shape[0],
                patch_norm,
                block_norm,
                drop_path_rate=float(config.get("drop_path_rate", 0.1)),
                classifier_dropout=float(config.get("classifier_dropout_prob", 0.1)),
                norm_eps=float(eps),
                **{key: bool((config.get("effiseg") or {}).get(key)) for key in ("patch_centered", "block_centered")},
            )
    except (ModelError, TypeError, ValueError) as error:
        raise ModelError(f"{source}: {error}") from None
    return model.to_empty(device="cpu")


def _norms(config: Mapping[str, Any]) -> tuple[Norm, Norm, float]:
    match config.get("model_type"):
        case "segformer":
            return "layer_norm", "layer_norm", TRANSFORMERS_EPS
        case "effiseg_segformer":
            own = config.get("effiseg") or {}
            try:
                return own["patch_norm"], own["block_norm"], own["norm_eps"]
            except KeyError as error:
                raise ModelError(f"the section effiseg must say {error}; found none") from None
        case other:
            raise ModelError(f"model_type must be {TRANSFORMERS_TYPE} or {OWN_TYPE}; found {other!r}")


def _shape(config: Mapping[str, Any]) -> Shape:
    for field, expected in FIXED_FIELDS.items():
        if _plain(config.get(field, expected)) not in (expected, OWN_ACTIVATION):
            raise ModelError(f"a SegFormer has {field} {expected}; found {config[field]}")
    usual, own = SHAPES["b0"], config.get("effiseg") or {}
    values: dict[str, Any] = {ours: config.get(theirs, getattr(usual, ours)) for ours, theirs in SHAPE_FIELDS.items()}
    values |= {name: own.get(name, getattr(usual, name)) for name in OWN_SHAPE_FIELDS}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return Shape(**values)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _load_strictly(model: SegFormer, weights: Mapping[str, Tensor], path: Path) -> None:
    state = model.state_dict()
    names = {classic_name(name): name for name in state}
    complaints = {
        "missing": sorted(set(names) - set(weights)),
        "unknown": sorted(set(weights) - set(names)),
        "of another shape": sorted(
            f"{theirs} {tuple(weights[theirs].shape)} instead of {tuple(state[ours].shape)}"
            for theirs, ours in names.items()
            if theirs in weights and weights[theirs].shape != state[ours].shape
        ),
    }
    if any(complaints.values()):
        found = "; ".join(f"{len(keys)} {what}: {few(keys)}" for what, keys in complaints.items() if keys)
        raise ModelError(f"{path}: every key must match a SegFormer {model.variant}; found {found}")
    require_finite(weights, path)
    model.load_state_dict({ours: weights[theirs] for theirs, ours in names.items()})


def read_metadata(config: Mapping[str, Any], num_classes: int, path: Path) -> ModelMetadata:
    """The metadata of a model folder: what its config says, corrected by the processor's file where there is one.

    Args:
        config: content of config.json.
        num_classes: rows of the classifier.
        path: the folder.

    Raises:
        ModelError: it does not fit the weights, or a value breaks a rule.
    """
    section = config.get("effiseg")
    own = isinstance(section, dict) and "metadata" in section
    return with_processor(metadata_of_config(config, num_classes, path / CONFIG_FILE), path, own=own).checked(path)


def metadata_of_config(config: Mapping[str, Any], num_classes: int, source: object) -> ModelMetadata:
    """The metadata that a config alone says.

    Args:
        config: content of config.json.
        num_classes: rows of the classifier.
        source: the file, for the error's text.

    Raises:
        ModelError: as `read_metadata`.
    """
    section = config.get("effiseg")
    own = section["metadata"] if isinstance(section, dict) and "metadata" in section else None
    labels = config.get("id2label") or {str(index): f"LABEL_{index}" for index in range(num_classes)}
    try:
        names = tuple(str(labels[str(index)]) for index in range(num_classes))
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"{source}: id2label must name all {num_classes} classes of the weights; it has no {error}"
        ) from None
    if own is None:
        ignored = config.get("semantic_loss_ignore_index", 255)
        # transformers may ignore -100, which no mask can hold.
        usable = isinstance(ignored, int) and num_classes <= ignored <= 255
        metadata = ModelMetadata(names=names, ignore_index=ignored if usable else 255)
    else:
        try:
            metadata = ModelMetadata.from_dict(own)
        except ModelError as error:
            raise ModelError(f"{source}: {error}") from None
        if metadata.names != names:
            # transformers keeps our section when it trains the model on, even on other classes.
            metadata = replace(metadata, names=names, palette=None, label_mapping=None, ignore_index=255)
    return metadata.checked(source)
