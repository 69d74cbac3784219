"""Teachers: trained networks in any form, frozen, behind one interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from effiseg.distillation.term import STAGES, Needs, Outputs, WeightedTerm
from effiseg.engines import load_exported
from effiseg.engines.engine import LoadedModel
from effiseg.errors import UsageError
from effiseg.models.metadata import ModelMetadata
from effiseg.models.mix_transformer import MixTransformer, Stage
from effiseg.models.segformer import Features, SegFormer


class Teacher(ABC):
    """A trained network that students are compared with. It has no gradients and is in no checkpoint."""

    source: str
    """Its name in errors: what the user gave."""

    @property
    @abstractmethod
    def metadata(self) -> ModelMetadata:
        """Its classes, and the normalization of its images."""

    @property
    @abstractmethod
    def widths(self) -> tuple[int, ...] | None:
        """Channels of its four stages; None: it answers with logits alone."""

    @abstractmethod
    def answer(self, images: Tensor, normalization: ModelMetadata, needs: Needs) -> Outputs:
        """The tensors that are needed, without gradient.

        Args:
            images: (B, 3, H, W) float, normalized as `normalization` says.
            normalization: the student's metadata.
            needs: what some term compares.
        """

    @abstractmethod
    def move(self, function: Callable[[Tensor], Tensor]) -> None:
        """Apply what moves or casts the student's tensors; a network that torch does not run stays where it is."""


class SegFormerTeacher(Teacher):
    """A model: logits, maps and patch embeddings. It is frozen in place, and always in eval mode."""

    def __init__(self, model: SegFormer, source: str = "the teacher") -> None:
        self.model = model.eval().requires_grad_(False)
        self.source = source

    @property
    def metadata(self) -> ModelMetadata:
        """See `Teacher`."""
        return self.model.metadata

    @property
    def widths(self) -> tuple[int, ...]:
        """See `Teacher`."""
        return tuple(self.model.embed_dims)

    def answer(self, images: Tensor, normalization: ModelMetadata, needs: Needs) -> Outputs:
        """See `Teacher`; it runs in the ambient autocast precision, and no further than the last stage needed."""
        # Not inference_mode: its tensors may not be saved for the student's backward pass.
        with torch.no_grad():
            images = _renormalized(images, normalization, self.metadata)
            if needs.logits or STAGES - 1 in needs.feature_maps:
                features = self.model.forward_features(images)
            else:
                last_map, last_embedding = (
                    max(stages, default=-1) for stages in (needs.feature_maps, needs.patch_embeddings)
                )
                features = _first_stages(self.model.encoder, images, last_map, last_embedding)
            return Outputs(features, self.model.decode(features.feature_maps) if needs.logits else None)

    def move(self, function: Callable[[Tensor], Tensor]) -> None:
        """See `Teacher`."""
        self.model._apply(function)  # type: ignore[no-untyped-call]


class ExportedTeacher(Teacher):
    """A file of `effiseg export`: logits alone, from its own engine on the CPU.

    In a copy, and in another process, the file is loaded anew.
    """

    def __init__(self, model: LoadedModel, source: str = "the teacher") -> None:
        self.model = model
        self.source = source

    def __reduce__(self) -> tuple[Callable[[str, str], ExportedTeacher], tuple[str, str]]:
        """How a copy is made: an engine's session cannot be copied."""
        return _load, (str(self.model.path), self.source)

    @property
    def metadata(self) -> ModelMetadata:
        """See `Teacher`."""
        return self.model.metadata

    @property
    def widths(self) -> None:
        """None."""

    def answer(self, images: Tensor, normalization: ModelMetadata, needs: Needs) -> Outputs:
        """See `Teacher`; no features."""
        pixels = _pixels(images, normalization).cpu().permute(0, 2, 3, 1)
        return Outputs(Features((), ()), torch.from_numpy(self.model(pixels)).to(images.device))

    def move(self, function: Callable[[Tensor], Tensor]) -> None:
        """See `Teacher`; it stays on the CPU."""


class WeightedTeacher(NamedTuple):
    """One of the teachers of a run."""

    weight: float
    """Its weight among them; a term is the mean over the teachers, weighed so."""
    teacher: Teacher


def check_teaches(teacher: Teacher, terms: Sequence[WeightedTerm], num_classes: int) -> None:
    """Refuse a teacher that lacks what a term compares.

    Args:
        teacher: it.
        terms: those that count.
        num_classes: the student's classes.

    Raises:
        UsageError: a term compares features of a teacher without them, or the logits of other classes.
    """
    for name, _, term in terms:
        if teacher.widths is None and (term.needs.feature_maps or term.needs.patch_embeddings):
            raise UsageError(
                f"{teacher.source}: an exported file answers with logits alone, and {name}_weight needs features; give "
                f"the model folder, or set {name}_weight to 0"
            )
        found = teacher.metadata.num_classes
        if term.needs.logits and found != num_classes:
            raise UsageError(
                f"{teacher.source}: {name}_weight needs a teacher with the student's {num_classes} classes, "
                f"found {found}; set {name}_weight to 0 or train a teacher on this data set"
            )


def _load(path: str, source: str) -> ExportedTeacher:
    return ExportedTeacher(load_exported(path), source)


def _pixels(images: Tensor, normalization: ModelMetadata) -> Tensor:
    """Normalized images as the uint8 pixels that they were: rounding undoes what float32 has changed."""
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=images.device).view(1, 3, 1, 1)
        for values in (normalization.mean, normalization.std)
    )
    return ((images.float() * std + mean) * 255).round_().clamp_(0, 255).to(torch.uint8)


def _renormalized(images: Tensor, ours: ModelMetadata, theirs: ModelMetadata) -> Tensor:
    """Images that are normalized as `ours` says as `theirs` says."""
    if (ours.mean, ours.std) == (theirs.mean, theirs.std):
        return images
    channels = list(zip(ours.mean, ours.std, theirs.mean, theirs.std, strict=True))
    scale, shift = (
        torch.tensor(values, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
        for values in (
            [std / their_std for _, std, _, their_std in channels],
            [(mean - their_mean) / their_std for mean, _, their_mean, their_std in channels],
        )
    )
    return images * scale + shift


def _first_stages(encoder: MixTransformer, images: Tensor, last_map: int, last_embedding: int) -> Features:
    """The encoder as far as the map of stage `last_map` and the patch embedding of stage `last_embedding`."""
    current = images.contiguous(memory_format=torch.channels_last)
    maps: list[Tensor] = []
    embeddings: list[Tensor] = []
    for index, stage in enumerate(encoder.stages):
        assert isinstance(stage, Stage)
        if index <= last_map or index < last_embedding:
            current, embedding = stage(current)
            maps.append(current)
            embeddings.append(embedding)
        elif index == last_embedding:
            embeddings.append(stage.patch_embedding(current)[0])
    return Features(tuple(maps), tuple(embeddings))
