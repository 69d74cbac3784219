import math

import pytest
import torch
import torch.nn.functional as F

from effiseg.losses import cross_entropy_loss


@pytest.mark.parametrize("weighted", [False, True])
def test_equals_torch(weighted: bool) -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 7, 5, 6, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 7, (3, 5, 6))
    target[torch.rand(3, 5, 6) < 0.4] = 255
    weights = torch.rand(7, dtype=torch.float64) if weighted else None
    ours = cross_entropy_loss(logits, target, weights)
    theirs = F.cross_entropy(logits, target, weights, ignore_index=255)
    torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=0)
    (ours_gradient,) = torch.autograd.grad(ours, logits)
    (theirs_gradient,) = torch.autograd.grad(theirs, logits)
    torch.testing.assert_close(ours_gradient, theirs_gradient, rtol=1e-12, atol=1e-17)


def test_equation_3_by_hand() -> None:
    # Two labelled pixels with p = (3/4, 1/4) and (1/3, 2/3), labels 0 and 1, weights 2 and 5; one ignored.
    p = torch.tensor([[0.75, 1 / 3, 0.5], [0.25, 2 / 3, 0.5]], dtype=torch.float64)
    logits = p.log().view(1, 2, 1, 3)
    target = torch.tensor([[[0, 1, 255]]])
    expected = (2 * -math.log(0.75) + 5 * -math.log(2 / 3)) / 7
    found = cross_entropy_loss(logits, target, torch.tensor([2.0, 5.0]))
    assert found.item() == pytest.approx(expected, rel=1e-14)
