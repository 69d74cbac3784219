"""Labels of enlarged logits, as torch's operators give them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from effiseg.models.best_class import best_class


def expected(logits: Tensor, size: tuple[int, int]) -> Tensor:
    wide = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
    return wide.argmax(1).to(torch.uint8)


@pytest.mark.parametrize("classes_last", [True, False])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
def test_interpolation_then_argmax(kind: torch.dtype, classes_last: bool) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 9, 13).to(kind)
    labels = best_class(logits, (35, 51), classes_last=classes_last)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels, expected(logits, (35, 51)))
