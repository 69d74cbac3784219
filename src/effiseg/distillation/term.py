"""A distillation term: a distance between student and teacher, and what it needs of both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from effiseg.errors import UsageError
from effiseg.models.segformer import Features

STAGES = 4


@dataclass(frozen=True)
class Needs:
    """Which outputs of student and teacher a term compares; stages count from 0."""

    feature_maps: frozenset[int] = frozenset()
    """Stages whose maps, the decode head's input, are needed."""
    patch_embeddings: frozenset[int] = frozenset()
    """Stages whose patch embeddings are needed."""
    logits: bool = False
    """Whether the logits are needed."""

    def __bool__(self) -> bool:
        """Whether anything is needed."""
        return bool(self.feature_maps or self.patch_embeddings or self.logits)

    def __or__(self, other: Needs) -> Needs:
        """The needs of both together."""
        return Needs(
            self.feature_maps | other.feature_maps,
            self.patch_embeddings | other.patch_embeddings,
            self.logits or other.logits,
        )


class Widths(NamedTuple):
    """Channels of the four stages, for the projections from the student's to the teacher's."""

    student: tuple[int, ...]
    teacher: tuple[int, ...]


class Outputs(NamedTuple):
    """A network's answer to a batch, as far as a term needs it."""

    features: Features
    """Of the teacher only up to the last stage that is needed."""
    logits: Tensor | None
    """(B, K, h, w), None where no term needs them."""

    def known_logits(self) -> Tensor:
        """The logits of a term that needs them."""
        assert self.logits is not None
        return self.logits


class Term(ABC):
    """A term: frozen dataclasses hold its options, a pure function beside it the arithmetic."""

    @property
    @abstractmethod
    def needs(self) -> Needs:
        """The tensors that the term compares; a term that needs nothing is left out."""

    def projections(self, widths: Widths) -> nn.ModuleDict:
        """The module trained with the student for this term alone and thrown away afterwards; None by default."""
        return nn.ModuleDict()

    @abstractmethod
    def distance(self, student: Outputs, teacher: Outputs, projections: nn.ModuleDict) -> Tensor:
        """The term before its weight, a scalar ≥ 0; gradients flow to the student and the projections.

        Args:
            student: its outputs.
            teacher: its outputs for the same images, without gradient.
            projections: what `projections` returned.
        """


class WeightedTerm(NamedTuple):
    """A term of a run's loss."""

    name: str
    """Its name in the settings and in metrics.csv."""
    weight: float
    """λ."""
    term: Term


class LogitTerm(Term):
    """A term that compares the logits."""

    @property
    def needs(self) -> Needs:
        """The logits."""
        return Needs(logits=True)

    @abstractmethod
    def loss(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """The distance of logits (B, K, h, w)."""

    def distance(self, student: Outputs, teacher: Outputs, projections: nn.ModuleDict) -> Tensor:
        """`loss` of the two logits."""
        return self.loss(student.known_logits(), teacher.known_logits())


@dataclass(frozen=True)
class StageTerm(Term):
    """A weighted sum over stages, of what the student has there, through a linear layer, and what the teacher has."""

    stage_weights: tuple[float, ...]
    """Four; a stage of weight 0 is left out."""

    def projections(self, widths: Widths) -> nn.ModuleDict:
        """A linear layer from the student's to the teacher's width, under the index of each stage."""
        return nn.ModuleDict(
            {str(stage): nn.Linear(widths.student[stage], widths.teacher[stage]) for stage in sorted(self.stages)}
        )

    @property
    def stages(self) -> frozenset[int]:
        """The stages whose weight is not 0."""
        return frozenset(stage for stage, weight in enumerate(self.stage_weights) if weight != 0)

    @abstractmethod
    def stage_loss(self, student: Features, teacher: Features, stage: int, projection: nn.Module) -> Tensor:
        """The distance of one stage."""

    def distance(self, student: Outputs, teacher: Outputs, projections: nn.ModuleDict) -> Tensor:
        """Σ weight · `stage_loss`."""
        losses = [
            self.stage_weights[int(name)] * self.stage_loss(student.features, teacher.features, int(name), projection)
            for name, projection in projections.items()
        ]
        return torch.stack(losses).sum()


@dataclass(frozen=True)
class MapTerm(StageTerm):
    """A `StageTerm` of feature maps."""

    @property
    def needs(self) -> Needs:
        """The maps of the stages that count."""
        return Needs(feature_maps=self.stages)

    @abstractmethod
    def loss(self, student_map: Tensor, teacher_map: Tensor) -> Tensor:
        """The distance of maps (B, C, H, W) of one shape."""

    def stage_loss(self, student: Features, teacher: Features, stage: int, projection: nn.Module) -> Tensor:
        """`loss` of the projected map and the teacher's."""
        # A linear layer on NHWC memory, which is how the model keeps its maps, is a 1×1 convolution.
        projected = projection(student.feature_maps[stage].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.loss(projected, teacher.feature_maps[stage])


def check_same_shape(student: Tensor, teacher: Tensor, what: str, axes: str = "(B, C, H, W)") -> None:
    """Refuse to compare what is not of one shape.

    Raises:
        UsageError: the shapes differ, or have other axes.
    """
    if student.shape != teacher.shape or student.dim() != len(axes.split(",")):
        raise UsageError(
            f"distillation compares {what} {axes} of the same shape, found {tuple(student.shape)} and "
            f"{tuple(teacher.shape)}: project the student's to the teacher's width, and give both networks the same "
            "images and the same classes"
        )
