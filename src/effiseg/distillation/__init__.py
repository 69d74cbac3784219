"""Distillation: one term a file, and the distiller that applies them."""

from effiseg.distillation.distiller import Distiller
from effiseg.distillation.feature import cosine_feature_loss
from effiseg.distillation.logits import kl_distillation_loss
from effiseg.distillation.patch_embedding import patch_embedding_loss
from effiseg.distillation.teacher import ExportedTeacher, SegFormerTeacher, Teacher, WeightedTeacher
from effiseg.distillation.term import WeightedTerm

__all__ = [
    "Distiller", "ExportedTeacher", "SegFormerTeacher", "Teacher", "WeightedTeacher", "WeightedTerm",
    "cosine_feature_loss", "kl_distillation_loss", "patch_embedding_loss",
]  # fmt: skip
