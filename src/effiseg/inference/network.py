"""A MODEL, whatever runs it, as one callable."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from effiseg.config.engine import EngineName, Output
from effiseg.config.model import LARGEST_STRIDE
from effiseg.engines import engine_named, engine_of, load_exported
from effiseg.engines.engine import LoadedModel
from effiseg.engines.pytorch import TorchEngine
from effiseg.environment import resolve_device
from effiseg.errors import UsageError
from effiseg.models.conversion import as_segformer
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import from_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.run_folder import resolve_model

Predict = Callable[[Tensor], Tensor]
"""(B, 3, h, w) uint8 images → (B, K, ⌈h/stride⌉, ⌈w/stride⌉) logits of any floating dtype, or (B, h, w) uint8
labels."""
ModelSource = nn.Module | str | os.PathLike[str]
"""A SegFormer, transformers' SegformerForSemanticSegmentation, or what the commands take as MODEL."""


@dataclass(frozen=True)
class Network:
    """A network that is loaded and ready to run."""

    predict: Predict
    """(B, 3, h, w) uint8 RGB on any device → logits, or labels where `output` says so, on `device`."""
    metadata: ModelMetadata
    """Classes, colours, input size."""
    output: Output = "logits"
    """logits or labels."""
    output_stride: int = 4
    """Pixels of its input, along one axis, that one logit stands for."""
    input_size: tuple[int, int] | None = None
    """The one (height, width) that it takes; None: any."""
    least_side: int = LARGEST_STRIDE
    """Smallest side it takes where it takes any."""
    device: torch.device | str = "cpu"
    """cpu or cuda."""
    source: str = "the model"
    """Its name in results and errors."""
    form: str = "fused"
    """The form: fused, the deploy form of a model (`effiseg.models.fuse`); as trained, the modules that training
    changes; or the engine of an exported file."""
    parameters: int | None = None
    """Trained values of the model, before anything is folded; None of an exported file."""

    def described(self) -> dict[str, Any]:
        """What results say of it."""
        return {"model": self.source, "form": self.form, "parameters": self.parameters}

    def require_logits(self, option: str) -> None:
        """Refuse what a file that answers with labels cannot have.

        Raises:
            UsageError: it answers with labels.
        """
        if self.output == "labels":
            raise UsageError(f"{self.source}: {option} needs logits; this file answers with labels (--output logits)")


def load_network(
    model: ModelSource, *, engine: EngineName | None = None, device: str = "auto", threads: int | None = None
) -> Network:
    """Load a model; torch runs its deploy form (`fuse`), an exported file runs in its own engine.

    Args:
        model: a SegFormer, ours or transformers', of which a copy is made, or a MODEL.
        engine: what runs a model that is no file, default torch; a file's own is given by its suffix.
        device: auto, cpu or cuda; exported files run on the CPU.
        threads: threads of an exported file's engine; default: torch's number.

    Raises:
        ModelError: no such model, or it cannot be loaded.
        UsageError: an engine or device that this model cannot have.
    """
    if not isinstance(model, str | os.PathLike):
        return _fused_network(as_segformer(model), engine, device, "the model")
    resolved, source = resolve_model(model), os.fspath(model)
    own = engine_of(resolved)
    if own is None:
        return _fused_network(from_pretrained(resolved), engine, device, source)
    if engine not in (None, own.name):
        raise UsageError(
            f"{model}: this file runs in {own.name}; found the engine {engine}: give the model folder for it"
        )
    if device == "cuda":
        raise UsageError(f"{model}: an exported file runs on the CPU here; found cuda: give the model folder instead")
    return exported_network(load_exported(resolved, threads=threads), source)


def trained_network(model: SegFormer, device: torch.device | str = "cpu", source: str = "the model") -> Network:
    """A model as it is trained, not fused: for evaluations inside training, and for what fused ones are compared with.

    Every module is in evaluation mode while it runs, and in its own mode afterwards.

    Args:
        model: moved to `device`.
        device: where to compute.
        source: what it is called in results and errors.
    """
    model.to(device)

    def predict(images: Tensor) -> Tensor:
        with torch.inference_mode(), evaluation_mode(model):
            logits: Tensor = model(model.metadata.normalize(images.to(device, non_blocking=True)))
            return logits

    return Network(
        predict,
        model.metadata,
        output_stride=model.output_stride,
        device=device,
        source=source,
        form="as trained",
        parameters=model.num_parameters(),
    )


def exported_network(model: LoadedModel, source: str = "the model") -> Network:
    """An exported file that its engine has loaded.

    Args:
        model: the loaded file.
        source: what it is called in results and errors.
    """
    record = model.record

    def predict(images: Tensor) -> Tensor:
        return torch.from_numpy(model(images.permute(0, 2, 3, 1)))

    return Network(
        predict,
        model.metadata,
        record.output,
        record.output_stride,
        record.input_size,
        record.least_side,
        "cpu",
        source,
        model.engine,
    )


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode, and every module back into its own mode afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _fused_network(model: SegFormer, engine: EngineName | None, device: str, source: str) -> Network:
    chosen = engine_named(engine or "torch")
    if not isinstance(chosen, TorchEngine):
        raise UsageError(f"{source}: {engine} runs exported files; export the model first (`effiseg export`)")
    place, parameters = resolve_device(device), model.num_parameters()
    call = chosen.ready(chosen.deploy_form(model, place, input="uint8", output="logits").to(place))

    def predict(images: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = call(images.to(place, non_blocking=True).permute(0, 2, 3, 1))
            return logits

    return Network(
        predict,
        model.metadata,
        output_stride=model.output_stride,
        device=place,
        source=source,
        form="fused",
        parameters=parameters,
    )
