"""The frozen teacher, the projections that are trained with the student, and the terms of equation 9."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_
from typing import Self

import torch
from torch import Tensor, nn

from effiseg.distillation.term import STAGES, Needs, Outputs, WeightedTerm, Widths
from effiseg.errors import UsageError
from effiseg.models.mix_transformer import MixTransformer, Stage
from effiseg.models.segformer import Features, SegFormer


class Distiller(nn.Module):
    """Measures how far a student is from a frozen teacher.

    Its parameters are the terms' projections: they are trained with the student (give them to the optimizer) and
    thrown away afterwards. Terms of weight 0, and those that need nothing, are left out; of the teacher runs only what
    some term needs.

    The teacher is in eval mode always, has no gradients, and is no submodule: it is in neither `parameters()`
    nor `state_dict()` and no `train()` reaches it, but it follows `.to()`. Should it have been trained with
    another normalization than the student's, its images are converted.

    Args:
        student: the model to be trained; only its widths, classes and normalization are read.
        teacher: a trained model; it is frozen in place.
        terms: what to measure, by name and weight.

    Raises:
        UsageError: a term compares the logits of different numbers of classes.
    """

    def __init__(self, student: SegFormer, teacher: SegFormer, terms: Sequence[WeightedTerm]) -> None:
        super().__init__()
        self.terms = tuple(item for item in terms if item.weight != 0 and item.term.needs)
        self.needs = reduce(or_, (item.term.needs for item in self.terms), Needs())
        for name, _, term in self.terms:
            if term.needs.logits and student.num_classes != teacher.num_classes:
                raise UsageError(
                    f"{name}_weight needs a teacher with the student's {student.num_classes} classes, "
                    f"found {teacher.num_classes}; set {name}_weight to 0 or train a teacher on this data set"
                )
        widths = Widths(tuple(student.embed_dims), tuple(teacher.embed_dims))
        # Their names are in checkpoints: feature_projections.0.weight, …
        for name, _, term in self.terms:
            self.add_module(f"{name}_projections", term.projections(widths))
        # In a tuple, where nn.Module does not look for submodules.
        self._teacher = (teacher.eval().requires_grad_(False),)
        self._renormalization = _renormalization(student, teacher)

    @property
    def teacher(self) -> SegFormer:
        """The frozen teacher."""
        return self._teacher[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Take the teacher along when the module moves (`.to`, `.cuda`, `.double`)."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.teacher._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def projections(self, name: str) -> nn.ModuleDict:
        """The projections of the term `name`."""
        found = self.get_submodule(f"{name}_projections")
        assert isinstance(found, nn.ModuleDict)
        return found

    def forward(self, images: Tensor, student_features: Features, student_logits: Tensor) -> dict[str, Tensor]:
        """The terms by name, before their weights.

        The teacher runs in the ambient autocast precision, the distances are float32 at least.

        Args:
            images: (B, 3, H, W) normalized float, what the teacher is to see: what the student saw, but perhaps for
                colours.
            student_features: `student.forward_features` of what the student saw.
            student_logits: (B, K, ⌈H/4⌉, ⌈W/4⌉), `student.decode(student_features.feature_maps)`.

        Raises:
            UsageError: the student's maps, tokens or logits are not those of these images.
        """
        if not self.terms:
            return {}
        student, teacher = Outputs(student_features, student_logits), self._run_teacher(images)
        return {name: term.distance(student, teacher, self.projections(name)) for name, _, term in self.terms}

    def weighted_total(self, terms: dict[str, Tensor]) -> Tensor:
        """Σ weight · term (equation 9 without its first term) from what `forward` returned.

        Returns:
            Scalar; 0 if there are no terms.
        """
        return sum((weight * terms[name] for name, weight, _ in self.terms), start=torch.zeros(()))

    def _run_teacher(self, images: Tensor) -> Outputs:
        # Not inference_mode: its tensors may not be saved for the student's backward pass.
        with torch.no_grad():
            if self._renormalization is not None:
                scale, shift = (
                    torch.tensor(values, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
                    for values in self._renormalization
                )
                images = images * scale + shift
            maps, embeddings = self.needs.feature_maps, self.needs.patch_embeddings
            if self.needs.logits or STAGES - 1 in maps:
                features = self.teacher.forward_features(images)
            else:
                last_map, last_embedding = (max(stages, default=-1) for stages in (maps, embeddings))
                features = _first_stages(self.teacher.encoder, images, last_map, last_embedding)
            return Outputs(features, self.teacher.decode(features.feature_maps) if self.needs.logits else None)


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


def _renormalization(student: SegFormer, teacher: SegFormer) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Scale and shift from the student's normalized images to the teacher's; None if they are the same."""
    ours, theirs = student.metadata, teacher.metadata
    if (ours.mean, ours.std) == (theirs.mean, theirs.std):
        return None
    channels = list(zip(ours.mean, ours.std, theirs.mean, theirs.std, strict=True))
    scale = tuple(std / teacher_std for _, std, _, teacher_std in channels)
    shift = tuple((mean - teacher_mean) / teacher_std for mean, _, teacher_mean, teacher_std in channels)
    return scale, shift
