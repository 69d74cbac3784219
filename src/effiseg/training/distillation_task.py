"""Training with a teacher: the supervised loss plus the distillation terms of equation 9."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from effiseg.config.loss import DistillationConfig, TermName
from effiseg.config.training import TrainConfig
from effiseg.data.unlabeled import UnlabeledImages
from effiseg.distillation import Distiller
from effiseg.distillation.cwd import CwdTerm
from effiseg.distillation.dist import DistTerm
from effiseg.distillation.feature import FeatureTerm
from effiseg.distillation.feature_mse import FeatureMseTerm
from effiseg.distillation.jaccard import JaccardTerm
from effiseg.distillation.logits import KlTerm
from effiseg.distillation.pairwise import PairwiseTerm
from effiseg.distillation.patch_embedding import PatchEmbeddingTerm
from effiseg.distillation.review import ReviewTerm
from effiseg.distillation.teacher import Teacher, WeightedTeacher
from effiseg.distillation.term import Term, WeightedTerm
from effiseg.distillation.transkd import TransKdTerm
from effiseg.losses.custom import Loss
from effiseg.models.segformer import SegFormer
from effiseg.training.segmentation_task import SegmentationTask


class DistillationTask(SegmentationTask):
    """Training of a student with frozen teachers.

    The projections to the teacher's widths are trained with the student and saved in checkpoints, never in the
    model folder; the teachers are in neither.

    Args:
        student: the network to train.
        teachers: the frozen networks to learn from, one or more.
        config: the run's settings; `config.distillation` weighs the terms, `config.teacher_weights` the teachers.
        class_weights: (K,) weights of the classes in the supervised loss, or None.
        loss: the supervised loss where the settings name it `custom`, as in `SegmentationTask`.
    """

    def __init__(
        self,
        student: SegFormer,
        teachers: Sequence[Teacher],
        config: TrainConfig,
        class_weights: Tensor | None,
        loss: Loss | None = None,
    ) -> None:
        super().__init__(student, config, class_weights, loss)
        weights = config.teacher_weights or [1.0] * len(teachers)
        weighted = [WeightedTeacher(*pair) for pair in zip(weights, teachers, strict=True)]
        self.distiller = Distiller(student, weighted, distillation_terms(config.distillation))

    def trained_modules(self) -> list[nn.Module]:
        """The student, the projections and what a custom loss trains."""
        return [*super().trained_modules(), self.distiller]

    def loss_terms(self, images: Tensor, labels: Tensor, unlabeled: UnlabeledImages | None = None) -> dict[str, Tensor]:
        """`loss` (equation 9), `supervised` and the unweighted distillation terms.

        Labelled images and unlabeled pictures pass the student as one batch. The distillation terms are of all of
        them, the supervised loss of the labelled ones alone.

        Args:
            images: (B, 3, H, W) uint8.
            labels: (B, H, W) uint8.
            unlabeled: pictures of the same size beside them.
        """
        normalize, labelled = self.student.metadata.normalize, len(images)
        seen = taught = normalize(images if unlabeled is None else torch.cat([images, unlabeled.student]))
        if unlabeled is not None and unlabeled.teacher is not unlabeled.student:
            taught = torch.cat([seen[:labelled], normalize(unlabeled.teacher)])
        features = self.encode(seen)
        logits = self.decode(features.feature_maps)
        supervised = self.supervised_terms(logits[:labelled], labels)
        total = supervised.pop("loss")
        distilled = self.distiller(taught, features, logits)
        return {
            "loss": total + self.distiller.weighted_total(distilled),
            "supervised": total,
            **supervised,
            **distilled,
        }


def distillation_terms(config: DistillationConfig) -> tuple[WeightedTerm, ...]:
    """The terms that the settings weigh, in the order in which checkpoints hold their projections."""
    return tuple(WeightedTerm(name, weight, _term(name, config)) for name, weight in config.weights.items())


def _term(name: TermName, config: DistillationConfig) -> Term:
    match name:
        case "kl":
            return KlTerm(config.temperature)
        case "feature":
            weights = tuple(config.feature_stage_weights)
            return FeatureTerm(weights, config.mse_weight, config.cosine_weight, config.detach_guidance)
        case "patch_embedding":
            return PatchEmbeddingTerm(tuple(config.patch_embedding_stage_weights))
        case "feature_mse":
            return FeatureMseTerm()
        case "cwd":
            return CwdTerm()
        case "dist":
            return DistTerm()
        case "jaccard":
            return JaccardTerm()
        case "transkd":
            return TransKdTerm()
        case "review":
            return ReviewTerm()
        case "pairwise":
            return PairwiseTerm()
