"""Channel-wise distillation (Shu et al., ICCV 2021, arXiv 2011.13256) of the logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from effiseg.distillation.term import LogitTerm, check_same_shape
from effiseg.losses.reduction import accurate


def channel_distillation_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T²/C Σ_c KL(teacher ‖ student) of softmaxes over the positions of each image and channel; mean over the images.

    Pixels whose label is ignored take part: the softmax is over the whole map, and the teacher sees them too.

    Args:
        student_logits: (B, C, h, w) floating; computed in float32, or float64 if given.
        teacher_logits: (B, C, h, w), without gradient.
        temperature: T > 0.
    """
    check_same_shape(student_logits, teacher_logits, "logits")
    student, teacher = (
        F.log_softmax(accurate(logits).flatten(2) / temperature, dim=2)
        for logits in (student_logits, teacher_logits.detach())
    )
    divergence = F.kl_div(student, teacher, reduction="sum", log_target=True)
    return divergence * (temperature**2 / (student.shape[0] * student.shape[1]))


@dataclass(frozen=True)
class CwdTerm(LogitTerm):
    """`channel_distillation_loss`."""

    temperature: float = 4.0
    """T."""

    def loss(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """`channel_distillation_loss`."""
        return channel_distillation_loss(student_logits, teacher_logits, self.temperature)
