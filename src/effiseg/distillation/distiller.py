"""The frozen teacher, the trained projections, and the distillation terms of equation 9."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from effiseg.distillation.feature import cosine_feature_loss
from effiseg.distillation.logits import kl_distillation_loss
from effiseg.distillation.patch_embedding import patch_embedding_loss
from effiseg.errors import UsageError
from effiseg.models.segformer import Features, SegFormer

STAGES = 4


class Distiller(nn.Module):
    """Measures how far a student is from a frozen teacher.

    Its parameters are the projections that bring the student's maps and tokens to the teacher's widths: they
    are trained with the student (give them to the optimizer) and thrown away afterwards. A projection exists
    only where λ and the stage's weight are not 0.

    The teacher is in eval mode always, has no gradients, and is no submodule: it is in neither `parameters()`
    nor `state_dict()` and no `train()` reaches it, but it follows `.to()`. Should it have been trained with
    another normalization than the student's, its images are converted.

    Args:
        student: the model to be trained; only its widths, classes and normalization are read.
        teacher: a trained model; it is frozen in place.
        kl_weight: λ_KL of equation 9.
        feature_weight: λ_FD.
        patch_embedding_weight: λ_PE.
        temperature: T of `kl_distillation_loss`.
        mse_weight: λ_m of `cosine_feature_loss`.
        cosine_weight: λ_S of `cosine_feature_loss`.
        detach_guidance: of `cosine_feature_loss`.
        feature_stage_weights: α_l of equation 7, four.
        patch_embedding_stage_weights: β_l of equation 8, four.

    Raises:
        UsageError: not four stage weights, a temperature that is not positive, or KL between different
            numbers of classes.
    """

    def __init__(
        self,
        student: SegFormer,
        teacher: SegFormer,
        *,
        kl_weight: float = 0.0,
        feature_weight: float = 1.0,
        patch_embedding_weight: float = 1.0,
        temperature: float = 1.0,
        mse_weight: float = 1.0,
        cosine_weight: float = 0.5,
        detach_guidance: bool = True,
        feature_stage_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        patch_embedding_stage_weights: Sequence[float] = (0.1, 0.1, 0.5, 1.0),
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise UsageError(f"temperature must be above 0, found {temperature}")
        if kl_weight != 0 and student.num_classes != teacher.num_classes:
            raise UsageError(
                f"kl_weight needs a teacher with the student's {student.num_classes} classes, "
                f"found {teacher.num_classes}; set kl_weight to 0 or train a teacher on this data set"
            )
        self.kl_weight = kl_weight
        self.feature_weight = feature_weight
        self.patch_embedding_weight = patch_embedding_weight
        self.temperature = temperature
        self.mse_weight = mse_weight
        self.cosine_weight = cosine_weight
        self.detach_guidance = detach_guidance
        self.feature_stage_weights = _stage_weights("feature_stage_weights", feature_stage_weights)
        self.patch_embedding_stage_weights = _stage_weights(
            "patch_embedding_stage_weights", patch_embedding_stage_weights
        )
        widths = student.embed_dims, teacher.embed_dims
        # A 1×1 convolution is a linear layer on NHWC memory, which is how the model keeps its maps.
        self.feature_projections = _projections(*widths, feature_weight, self.feature_stage_weights)
        self.patch_embedding_projections = _projections(
            *widths, patch_embedding_weight, self.patch_embedding_stage_weights
        )
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

    def forward(self, images: Tensor, student_features: Features, student_logits: Tensor) -> dict[str, Tensor]:
        """The distillation terms, unweighted by λ; those with λ = 0 are neither there nor computed.

        The teacher runs in the ambient autocast precision, the distances are float32 at least.

        Args:
            images: (B, 3, H, W) normalized float, what the student saw.
            student_features: `student.forward_features(images)`.
            student_logits: (B, K, ⌈H/4⌉, ⌈W/4⌉), `student.decode(student_features.feature_maps)`.

        Returns:
            "kl", "feature" (Σ α_l · equation 7) and "patch_embedding" (equation 8), scalars.

        Raises:
            UsageError: the student's maps, tokens or logits are not those of these images.
        """
        needs_kl = self.kl_weight != 0
        if not (needs_kl or self.feature_projections or self.patch_embedding_projections):
            return {}
        teacher_features, teacher_logits = self._run_teacher(images, with_logits=needs_kl)
        terms: dict[str, Tensor] = {}
        if teacher_logits is not None:
            terms["kl"] = kl_distillation_loss(student_logits, teacher_logits, self.temperature)
        if self.feature_projections:
            terms["feature"] = self._feature_term(student_features, teacher_features)
        if self.patch_embedding_projections:
            terms["patch_embedding"] = self._patch_embedding_term(student_features, teacher_features)
        return terms

    def weighted_total(self, terms: dict[str, Tensor]) -> Tensor:
        """λ_KL · KL + λ_FD · FD + λ_PE · PE (equation 9 without its first term) from what `forward` returned.

        Returns:
            Scalar; 0 if there are no terms.
        """
        weights = {
            "kl": self.kl_weight,
            "feature": self.feature_weight,
            "patch_embedding": self.patch_embedding_weight,
        }
        return sum((weights[name] * term for name, term in terms.items()), start=torch.zeros(()))

    def _run_teacher(self, images: Tensor, *, with_logits: bool) -> tuple[Features, Tensor | None]:
        # Not inference_mode: its tensors may not be saved for the student's backward pass.
        with torch.no_grad():
            if self._renormalization is not None:
                scale, shift = (
                    torch.tensor(values, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
                    for values in self._renormalization
                )
                images = images * scale + shift
            features = self.teacher.forward_features(images)
            return features, self.teacher.decode(features.feature_maps) if with_logits else None

    def _feature_term(self, student: Features, teacher: Features) -> Tensor:
        stages: list[Tensor] = []
        for name, projection in self.feature_projections.items():
            stage = int(name)
            projected = projection(student.feature_maps[stage].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            loss = cosine_feature_loss(
                projected,
                teacher.feature_maps[stage],
                self.mse_weight,
                self.cosine_weight,
                self.detach_guidance,
            )
            stages.append(self.feature_stage_weights[stage] * loss)
        return torch.stack(stages).sum()

    def _patch_embedding_term(self, student: Features, teacher: Features) -> Tensor:
        stages: list[Tensor] = []
        for name, projection in self.patch_embedding_projections.items():
            stage = int(name)
            projected = projection(student.patch_embeddings[stage])
            loss = patch_embedding_loss(projected, teacher.patch_embeddings[stage])
            stages.append(self.patch_embedding_stage_weights[stage] * loss)
        return torch.stack(stages).sum()


def _stage_weights(name: str, weights: Sequence[float]) -> tuple[float, ...]:
    if len(weights) != STAGES:
        raise UsageError(f"{name} needs one weight for each of the {STAGES} stages, found {len(weights)}")
    return tuple(weights)


def _projections(
    student_widths: Sequence[int],
    teacher_widths: Sequence[int],
    term_weight: float,
    stage_weights: Sequence[float],
) -> nn.ModuleDict:
    """Linear layers from the student's to the teacher's width, under the index of each stage that counts."""
    return nn.ModuleDict(
        {
            str(stage): nn.Linear(student_widths[stage], teacher_widths[stage])
            for stage, weight in enumerate(stage_weights)
            if term_weight != 0 and weight != 0
        }
    )


def _renormalization(student: SegFormer, teacher: SegFormer) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Scale and shift from the student's normalized images to the teacher's; None if they are the same."""
    ours, theirs = student.metadata, teacher.metadata
    if (ours.mean, ours.std) == (theirs.mean, theirs.std):
        return None
    channels = list(zip(ours.mean, ours.std, theirs.mean, theirs.std, strict=True))
    scale = tuple(std / teacher_std for _, std, _, teacher_std in channels)
    shift = tuple((mean - teacher_mean) / teacher_std for mean, _, teacher_mean, teacher_std in channels)
    return scale, shift
