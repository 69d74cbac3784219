"""Starting weights that come with the package: pretrained on drawn pictures, without a classifier, in float16."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from effiseg.config.model import Variant
from effiseg.errors import ModelError
from effiseg.files import atomic_path, read_json, write_json
from effiseg.models.initial_weights import InitialWeights
from effiseg.models.metadata import IMAGENET_MEAN, IMAGENET_STD
from effiseg.models.pretrained import from_pretrained
from effiseg.models.weight_files import weights_digest
from effiseg.models.widening import WIDENED, widened

STARTER = "starter"
"""How `init` names these weights."""
_HEAD = "decode_head."
_LEFT_OUT = (f"{_HEAD}classifier.weight", f"{_HEAD}classifier.bias", ".num_batches_tracked")
"""Ends of the names of what a starter does not have."""


def starter_folder() -> Path:
    """Where the files lie: VARIANT.safetensors, and VARIANT.json with where they come from."""
    return Path(str(resources.files("effiseg"))) / "starters"


def starter_source(variant: Variant) -> Variant | None:
    """The size whose file a size starts from: its own, or that of the size it is widened from; None: there is none."""
    for source in (variant, WIDENED.get(variant)):
        if source is not None and (starter_folder() / f"{source}.safetensors").is_file():
            return source
    return None


def largest_with_starter() -> Variant | None:
    """The largest size that has a starter."""
    found: list[Variant] = [variant for variant in get_args(Variant) if starter_source(variant) is not None]
    return found[-1] if found else None


def starter_provenance(variant: Variant) -> dict[str, Any]:
    """Provenance of a size's starter: command, commit, seeds, pictures seen, digest, licence.

    Raises:
        ModelError: it has none.
    """
    source = _existing_source(variant)
    provenance: dict[str, Any] = read_json(starter_folder() / f"{source}.json")
    return provenance


def read_starter(variant: Variant) -> InitialWeights:
    """The starting weights of a size.

    Raises:
        ModelError: it has none.
    """
    source = _existing_source(variant)
    weights = {name: tensor.float() for name, tensor in load_file(starter_folder() / f"{source}.safetensors").items()}
    return InitialWeights(
        STARTER,
        "effiseg, from drawn pictures" if source == variant else f"effiseg, from drawn pictures, widened from {source}",
        weights if source == variant else widened(weights),
        variant,
        "layer_norm",
        "layer_norm",
        float(read_json(starter_folder() / f"{source}.json")["norm_eps"]),
        None,
        [],
        (IMAGENET_MEAN, IMAGENET_STD),
    )


def _existing_source(variant: Variant) -> Variant:
    source = starter_source(variant)
    if source is None:
        known = ", ".join(name for name in get_args(Variant) if starter_source(name) is not None) or "none"
        raise ModelError(
            f"--init starter: there are starting weights for {known}; found model.variant {variant}; "
            "make some with `effiseg pretrain`, or take --init scratch"
        )
    return source


def write_starter(model_folder: str | Path, folder: str | Path, provenance: Mapping[str, Any]) -> Path:
    """Make a starter of a pretrained model with LayerNorms.

    Args:
        model_folder: the model.
        folder: where VARIANT.safetensors and VARIANT.json go.
        provenance: what VARIANT.json says beside variant, digest and epsilon.

    Returns:
        The file of weights.

    Raises:
        ModelError: the model has other norms, or weights that float16 cannot hold.
    """
    model = from_pretrained(model_folder)
    if (model.patch_norm, model.block_norm) != ("layer_norm", "layer_norm"):
        raise ModelError(f"{model_folder}: a starter has LayerNorms, to which other norms are fitted")
    weights: dict[str, Tensor] = {
        name: tensor.to(torch.float16).contiguous()
        for name, tensor in model.state_dict().items()
        if not name.endswith(_LEFT_OUT)
    }
    if lost := [name for name, tensor in weights.items() if not bool(tensor.isfinite().all())]:
        raise ModelError(f"{model_folder}: float16 cannot hold {lost[0]}")
    path = Path(folder) / f"{model.variant}.safetensors"
    with atomic_path(path) as temporary:
        save_file(weights, temporary, metadata={"format": "pt"})
    digest = weights_digest({name: tensor.float() for name, tensor in load_file(path).items()})
    own = {"variant": model.variant, "norm_eps": model.norm_eps, "digest": digest}
    write_json(path.with_suffix(".json"), {**own, **provenance})
    return path
