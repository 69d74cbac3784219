"""What a distillation term is: a distance between student and teacher, and what it needs of both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

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
        """What both need together."""
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
    """What a network gave for a batch, as far as a term needs it."""

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
        """What the term compares; a term that needs nothing is left out."""

    def projections(self, widths: Widths) -> nn.ModuleDict:
        """What is trained with the student for this term alone and thrown away afterwards; nothing by default."""
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


def used_stages(weights: tuple[float, ...]) -> frozenset[int]:
    """The stages whose weight is not 0."""
    return frozenset(stage for stage, weight in enumerate(weights) if weight != 0)


def linear_projections(widths: Widths, stages: frozenset[int]) -> nn.ModuleDict:
    """Linear layers from the student's to the teacher's width, under the index of each stage."""
    return nn.ModuleDict(
        {str(stage): nn.Linear(widths.student[stage], widths.teacher[stage]) for stage in sorted(stages)}
    )


def projected_map(feature_map: Tensor, projection: nn.Module) -> Tensor:
    """A linear layer at every position of a map (B, C, H, W): a 1×1 convolution on NHWC memory, the model's own."""
    projected: Tensor = projection(feature_map.permute(0, 2, 3, 1))
    return projected.permute(0, 3, 1, 2)
