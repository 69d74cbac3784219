"""The frozen teachers, the projections that are trained with the student, and the terms of equation 9."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effiseg.distillation.teacher import Teacher, WeightedTeacher, check_teaches
from effiseg.distillation.term import Needs, Outputs, WeightedTerm, Widths
from effiseg.models.segformer import Features, SegFormer


class Distiller(nn.Module):
    """Measures how far a student is from frozen teachers.

    Its parameters are the terms' projections, of each teacher its own: they are trained with the student (give them to
    the optimizer) and thrown away afterwards. Terms of weight 0, and those that need nothing, are left out; of a
    teacher runs only what some term needs. With several teachers a term is the mean of its distances to them, weighed
    by their weights, so that λ means the same however many there are.

    A teacher is no submodule: it is in neither `parameters()` nor `state_dict()` and no `train()` reaches it, but it
    follows `.to()`. Should it have been trained with another normalization than the student's, its images are
    converted. Where the strides of their logits differ, the coarser ones are enlarged bilinearly to the size of the
    finer ones, as both are where label maps are made.

    Args:
        student: the model to be trained; only its widths, classes and normalization are read.
        teachers: one or more, with weights that are not all 0.
        terms: what to measure, by name and weight.

    Raises:
        UsageError: a teacher lacks what a term compares, see `check_teaches`.
    """

    def __init__(self, student: SegFormer, teachers: Sequence[WeightedTeacher], terms: Sequence[WeightedTerm]) -> None:
        super().__init__()
        self.terms = tuple(item for item in terms if item.weight != 0 and item.term.needs)
        self.needs = reduce(or_, (item.term.needs for item in self.terms), Needs())
        # In a tuple, where nn.Module does not look for submodules.
        self.teachers: tuple[Teacher, ...] = tuple(item.teacher for item in teachers)
        """The frozen teachers."""
        whole = sum(item.weight for item in teachers)
        self.shares = tuple(item.weight / whole for item in teachers)
        self._normalization = student.metadata
        for index, teacher in enumerate(self.teachers):
            check_teaches(teacher, self.terms, student.num_classes)
            widths = Widths(tuple(student.embed_dims), teacher.widths or ())
            for name, _, term in self.terms:
                self.add_module(_module_name(name, index), term.projections(widths))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Take the teachers along when the module moves (`.to`, `.cuda`, `.double`)."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for teacher in self.teachers:
            teacher.move(fn)
        return self

    def projections(self, name: str, teacher: int = 0) -> nn.ModuleDict:
        """The projections of the term `name` to the teacher of that index."""
        found = self.get_submodule(_module_name(name, teacher))
        assert isinstance(found, nn.ModuleDict)
        return found

    def forward(self, images: Tensor, student_features: Features, student_logits: Tensor) -> dict[str, Tensor]:
        """The terms by name, before their weights.

        The teachers run in the ambient autocast precision, the distances are float32 at least.

        Args:
            images: (B, 3, H, W) normalized float, what the teacher is to see: what the student saw, but perhaps for
                colours.
            student_features: `student.forward_features` of what the student saw.
            student_logits: (B, K, ⌈H/stride⌉, ⌈W/stride⌉), `student.decode(student_features.feature_maps)`.

        Raises:
            UsageError: the student's maps, tokens or logits are not those of these images.
        """
        if not self.terms:
            return {}
        own = Outputs(student_features, student_logits)
        found: dict[str, list[Tensor]] = {name: [] for name, _, _ in self.terms}
        for index, (teacher, share) in enumerate(zip(self.teachers, self.shares, strict=True)):
            student, answer = _at_one_size(own, teacher.answer(images, self._normalization, self.needs))
            for name, _, term in self.terms:
                found[name].append(share * term.distance(student, answer, self.projections(name, index)))
        return {name: torch.stack(distances).sum() for name, distances in found.items()}

    def weighted_total(self, terms: dict[str, Tensor]) -> Tensor:
        """Σ weight · term (equation 9 without its first term) from what `forward` returned.

        Returns:
            Scalar; 0 if there are no terms.
        """
        return sum((weight * terms[name] for name, weight, _ in self.terms), start=torch.zeros(()))


def _module_name(term: str, teacher: int) -> str:
    """The name of projections in checkpoints: feature_projections, of a second teacher feature_projections_2."""
    return f"{term}_projections" + ("" if teacher == 0 else f"_{teacher + 1}")


def _at_one_size(student: Outputs, teacher: Outputs) -> tuple[Outputs, Outputs]:
    """Both with their logits at the size of the finer ones, where the teacher has any."""
    if teacher.logits is None:
        return student, teacher
    size = max(student.known_logits().shape[2:], teacher.logits.shape[2:])
    return _enlarged(student, size), _enlarged(teacher, size)


def _enlarged(outputs: Outputs, size: tuple[int, ...]) -> Outputs:
    logits = outputs.known_logits()
    if logits.shape[2:] == size:
        return outputs
    return outputs._replace(logits=F.interpolate(logits, size=size, mode="bilinear", align_corners=False))
