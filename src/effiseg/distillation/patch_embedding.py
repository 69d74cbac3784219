"""Patch embedding distillation (PEKD), equation 8, for one stage."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effiseg.distillation.term import Needs, Outputs, Term, Widths, linear_projections, used_stages
from effiseg.errors import UsageError
from effiseg.losses.reduction import accurate


def patch_embedding_loss(student_tokens: Tensor, teacher_tokens: Tensor) -> Tensor:
    """Mean squared difference over all entries (equation 8 writes the squared norm; its code takes the mean).

    Args:
        student_tokens: (B, N, C) floating, already projected to the teacher's width; computed in float32, or
            float64 if given.
        teacher_tokens: (B, N, C), without gradient.

    Returns:
        Scalar ≥ 0, before β_l.

    Raises:
        UsageError: the shapes differ.
    """
    if student_tokens.shape != teacher_tokens.shape or student_tokens.dim() != 3:
        raise UsageError(
            "patch embedding distillation needs student and teacher tokens (B, N, C) of one shape, found "
            f"{tuple(student_tokens.shape)} and {tuple(teacher_tokens.shape)}; project the student to the "
            "teacher's width and give both the same image"
        )
    return F.mse_loss(accurate(student_tokens), accurate(teacher_tokens.detach()))


@dataclass(frozen=True)
class PatchEmbeddingTerm(Term):
    """Σ β_l · `patch_embedding_loss` over the stages, of tokens projected to the teacher's width."""

    stage_weights: tuple[float, ...]
    """β, four; a stage of weight 0 is left out."""

    @property
    def needs(self) -> Needs:
        """The patch embeddings of the stages that count."""
        return Needs(patch_embeddings=used_stages(self.stage_weights))

    def projections(self, widths: Widths) -> nn.ModuleDict:
        """One linear layer a stage."""
        return linear_projections(widths, self.needs.patch_embeddings)

    def distance(self, student: Outputs, teacher: Outputs, projections: nn.ModuleDict) -> Tensor:
        """Equation 8."""
        stages: list[Tensor] = []
        for name, projection in projections.items():
            stage = int(name)
            projected = projection(student.features.patch_embeddings[stage])
            loss = patch_embedding_loss(projected, teacher.features.patch_embeddings[stage])
            stages.append(self.stage_weights[stage] * loss)
        return torch.stack(stages).sum()
