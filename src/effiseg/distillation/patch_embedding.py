"""Patch embedding distillation (PEKD), equation 8, for one stage."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from effiseg.distillation.term import Needs, StageTerm, check_same_shape
from effiseg.losses.reduction import accurate
from effiseg.models.segformer import Features


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
    check_same_shape(student_tokens, teacher_tokens, "tokens", "(B, N, C)")
    return F.mse_loss(accurate(student_tokens), accurate(teacher_tokens.detach()))


@dataclass(frozen=True)
class PatchEmbeddingTerm(StageTerm):
    """Equation 8, with β as the stages' weights."""

    @property
    def needs(self) -> Needs:
        """The patch embeddings of the stages that count."""
        return Needs(patch_embeddings=self.stages)

    def stage_loss(self, student: Features, teacher: Features, stage: int, projection: nn.Module) -> Tensor:
        """`patch_embedding_loss` of one stage."""
        return patch_embedding_loss(projection(student.patch_embeddings[stage]), teacher.patch_embeddings[stage])
