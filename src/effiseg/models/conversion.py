"""Weights of others, or a network of transformers, as a whole model of ours, without training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from effiseg.errors import ModelError
from effiseg.models.checkpoint_names import own_names
from effiseg.models.folder import CONFIG_FILE
from effiseg.models.initial_weights import InitialWeights
from effiseg.models.metadata import ModelMetadata, plain_name
from effiseg.models.pretrained import TRANSFORMERS_EPS, build_model, metadata_of_config
from effiseg.models.segformer import SegFormer
from effiseg.models.weight_files import few, require_finite

_CLASSIFIER = "decode_head.classifier."
_COUNTER = "decode_head.batch_norm.num_batches_tracked"


@dataclass(frozen=True)
class Conversion:
    """A model that was made of weights, and what there is to say of it."""

    model: SegFormer
    """On the CPU, in evaluation mode."""
    publisher: str
    """Whose names the weights had."""
    unused: list[str]
    """Tensors that SegFormer has no place for."""
    notes: list[str] = field(default_factory=list)
    """What was decided, in words."""


def convert_weights(
    read: InitialWeights, classes: ModelMetadata | None = None, image_size: tuple[int, int] | None = None
) -> Conversion:
    """The whole model of initial weights.

    Args:
        read: the weights; they must be those of a whole network.
        classes: a data set's classes, palette, label mapping and ignore_index; the classifier's rows are moved to
            their order by name. None: those that the weights name, else LABEL_0, LABEL_1, …
        image_size: (height, width) that images are brought to; None: as the weights' folder says.

    Raises:
        ModelError: the network is not whole, or its classes are others.
    """
    if read.num_classes is None:
        raise ModelError(
            f"{read.source}: a model has an encoder and a decode head with its classifier; found no classifier of a "
            "SegFormer: train one from these weights with `effiseg train --init`"
        )
    notes: list[str] = []
    metadata = read.metadata or ModelMetadata.unnamed(read.num_classes)
    if read.names is not None:
        metadata = replace(metadata, names=read.names, palette=read.palette or metadata.palette)
    weights = read.weights
    if classes is not None:
        weights = weights | _ordered_rows(read, classes, notes)
        metadata = replace(
            metadata,
            names=classes.names,
            palette=classes.palette,
            label_mapping=classes.label_mapping,
            ignore_index=classes.ignore_index,
        )
    if image_size is not None:
        metadata = replace(metadata, image_size=image_size)
    metadata.checked(read.source)
    assert read.shape is not None  # everything with a classifier has one
    with torch.device("meta"):  # draws nothing
        model = SegFormer(
            read.shape,
            read.num_classes,
            read.patch_norm,
            read.block_norm,
            norm_eps=read.norm_eps,
            patch_centered=read.patch_centered,
            block_centered=read.block_centered,
        )
    model = model.to_empty(device="cpu")
    load_whole(model, weights, read.source)
    model.metadata = metadata
    if read.norm_eps != TRANSFORMERS_EPS:
        notes.append(
            f"its LayerNorms have an epsilon of {read.norm_eps:g}, which transformers does not have: it refuses it"
        )
    return Conversion(model.eval(), read.publisher, read.unused, notes)


def load_whole(model: SegFormer, weights: Mapping[str, Tensor], source: str) -> None:
    """Put weights under our names into a model, in place.

    Raises:
        ModelError: some are missing, of another shape, or not finite; nothing is loaded in part.
    """
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    faults = [f"{name} is missing" for name in shapes if name not in weights and name != _COUNTER]
    faults += [
        f"{name} is {tuple(tensor.shape)} instead of {tuple(shapes[name])}"
        for name, tensor in weights.items()
        if name in shapes and tensor.shape != shapes[name]
    ]
    if faults:
        raise ModelError(f"{source}: the weights must be those of a whole {model.variant}: {few(faults, 4)}")
    require_finite(weights, source)
    counter = {_COUNTER: torch.zeros((), dtype=torch.long)}
    model.load_state_dict(counter | {name: tensor for name, tensor in weights.items() if name in shapes})


def _ordered_rows(read: InitialWeights, classes: ModelMetadata, notes: list[str]) -> dict[str, Tensor]:
    """The classifier's tensors in the order of a data set's classes."""
    rows = {name: tensor for name, tensor in read.weights.items() if name.startswith(_CLASSIFIER)}
    wanted = [plain_name(name) for name in classes.names]
    if read.names is None and read.num_classes == len(wanted):
        notes.append(f"its {len(wanted)} classes have no names and are taken for the data set's, in order")
        return rows
    found = [plain_name(name) for name in read.names or ()]
    if sorted(found) != sorted(wanted) or len(set(found)) != len(found):
        theirs = f"{read.num_classes} ({few(list(read.names), 4)})" if read.names else f"{read.num_classes}"
        raise ModelError(
            f"{read.source}: its classes must be the data set's {len(wanted)} ({few(list(classes.names), 4)}); found "
            f"{theirs}: leave --data out to keep them, or train with --init for new ones"
        )
    if found != wanted:
        notes.append("its classes are the data set's in another order; the classifier's rows were moved")
    order = [found.index(name) for name in wanted]
    return {name: tensor[order].clone() for name, tensor in rows.items()}


def as_segformer(model: object) -> SegFormer:
    """A network as one of ours: itself, or a copy of transformers' SegformerForSemanticSegmentation.

    transformers is not imported; its model is known by its config.

    Raises:
        ModelError: neither.
    """
    if isinstance(model, SegFormer):
        return model
    config, state = getattr(model, "config", None), getattr(model, "state_dict", None)
    if not callable(getattr(config, "to_dict", None)) or not callable(state):
        raise ModelError(
            "a model is a path, a Hub id, a SegFormer of effiseg or transformers' SegformerForSemanticSegmentation; "
            f"found {type(model).__name__}"
        )
    plain: dict[str, Any] = json.loads(json.dumps(config.to_dict(), default=str))  # type: ignore[union-attr]
    source = f"the {type(model).__name__}"
    try:
        named = own_names({name: tensor.detach().cpu() for name, tensor in state().items()})
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from None
    ours = build_model(plain, named.weights, Path(source) / CONFIG_FILE, SegFormer)
    load_whole(ours, named.weights, source)
    ours.metadata = metadata_of_config(plain, ours.num_classes, source)
    return ours.eval()
