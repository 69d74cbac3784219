"""A MODEL, whatever runs it, as one callable."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import Tensor

from effiseg.config.engine import EngineName, Output
from effiseg.config.model import LARGEST_STRIDE
from effiseg.data.transforms import PADDING_COLOUR
from effiseg.engines import engine_named, engine_of, load_exported
from effiseg.engines.engine import LoadedModel
from effiseg.engines.pytorch import TorchEngine
from effiseg.environment import resolve_device
from effiseg.errors import UsageError
from effiseg.inference.sliding_window import Predict
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import from_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.run_folder import resolve_model

ModelSource = SegFormer | str | os.PathLike[str]
"""A model, or what the commands take as MODEL."""
_EXPORTED_LEAST_SIDE = 64  # an exported file of any size, see `ExportRecord.input_size`


@dataclass(frozen=True)
class Network:
    """A network that is loaded and ready to run."""

    predict: Predict
    """(B, 3, h, w) uint8 RGB on any device → logits, or labels where `output` says so, on `device`."""
    metadata: ModelMetadata
    """Classes, colours, input size."""
    output: Output
    """logits or labels."""
    input_size: tuple[int, int] | None
    """The one (height, width) that it takes; None: any."""
    least_side: int
    """Smallest side it takes where it takes any."""
    device: str
    """cpu or cuda."""
    source: str
    """What it is called in errors."""


def load_network(
    model: ModelSource, *, engine: EngineName | None = None, device: str = "auto", threads: int | None = None
) -> Network:
    """Load a model; torch runs its deploy form (`fuse`), an exported file runs in its own engine.

    Args:
        model: a SegFormer, of which a copy is made, or a MODEL.
        engine: what runs a model that is no file, default torch; a file's own is given by its suffix.
        device: auto, cpu or cuda; exported files run on the CPU.
        threads: threads of an exported file's engine; default: torch's number.

    Raises:
        ModelError: no such model, or it cannot be loaded.
        UsageError: an engine or device that this model cannot have.
    """
    if isinstance(model, SegFormer):
        return _torch_network(model, engine, device, "the model")
    resolved = resolve_model(model)
    own = engine_of(resolved)
    if own is None:
        return _torch_network(from_pretrained(resolved), engine, device, str(model))
    if engine not in (None, own.name):
        raise UsageError(
            f"{model}: this file runs in {own.name}; found the engine {engine}: give the model folder for it"
        )
    if device == "cuda":
        raise UsageError(f"{model}: an exported file runs on the CPU here; found cuda: give the model folder instead")
    return _exported_network(load_exported(resolved, threads=threads), str(model))


def _torch_network(model: SegFormer, engine: EngineName | None, device: str, source: str) -> Network:
    chosen = engine_named(engine or "torch")
    if not isinstance(chosen, TorchEngine):
        raise UsageError(f"{source}: {engine} runs exported files; export the model first (`effiseg export`)")
    place = resolve_device(device)
    call = chosen.ready(chosen.deploy_form(model, place, input="uint8", output="logits").to(place))

    def predict(images: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = call(images.to(place, non_blocking=True).permute(0, 2, 3, 1))
            return logits

    return Network(predict, model.metadata, "logits", None, LARGEST_STRIDE, place, source)


def passes_of_file(model: LoadedModel) -> Predict:
    """An exported file as a callable of (B, 3, h, w) uint8 RGB."""

    def predict(images: Tensor) -> Tensor:
        return torch.from_numpy(model(images.permute(0, 2, 3, 1)))

    return predict


def _exported_network(model: LoadedModel, source: str) -> Network:
    record = model.record
    return Network(
        passes_of_file(model), model.metadata, record.output, record.input_size, _EXPORTED_LEAST_SIDE, "cpu", source
    )


def padded_to(image: Tensor, size: tuple[int, int]) -> Tensor:
    """An image's padding cut or continued to `size`, which its valid part fits in.

    Args:
        image: (3, h, w) uint8, padded at the right and the bottom.
        size: (height, width) of the result.
    """
    if image.shape[1:] == size:
        return image
    padded = torch.tensor(PADDING_COLOUR, dtype=torch.uint8).view(3, 1, 1).repeat(1, *size)
    height, width = (min(side, most) for side, most in zip(image.shape[1:], size, strict=True))
    padded[:, :height, :width] = image[:, :height, :width]
    return padded
