import math

import pytest
import torch

from effiseg.losses import cross_entropy_loss, ohem_loss


def test_a_threshold_of_1_is_the_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(2, 4, 5, 6, dtype=torch.float64), torch.randint(0, 4, (2, 5, 6))
    target[0, 0] = 255
    weights = torch.rand(4)
    found = ohem_loss(logits, target, weights, threshold=1.0)
    torch.testing.assert_close(found, cross_entropy_loss(logits, target, weights), rtol=1e-13, atol=0)


def test_by_hand() -> None:
    p = torch.tensor([0.9, 0.6, 0.3, 0.8, 0.1], dtype=torch.float64)  # of the true class; the last one is ignored
    logits = torch.stack([p, 1 - p]).log().view(1, 2, 1, 5)
    target = torch.tensor([[[0, 0, 0, 0, 255]]])
    hard = -(math.log(0.6) + math.log(0.3)) / 2
    assert ohem_loss(logits, target, threshold=0.7).item() == pytest.approx(hard, rel=1e-14)
    assert ohem_loss(logits, target, threshold=0.0).item() == pytest.approx(-math.log(0.3), rel=1e-14)
    three = -(math.log(0.6) + math.log(0.3) + math.log(0.8)) / 3
    assert ohem_loss(logits, target, threshold=0.0, least=0.7).item() == pytest.approx(three, rel=1e-14)


def test_every_image_keeps_its_hardest_share() -> None:
    torch.manual_seed(1)
    logits, target = 3 * torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.zeros(2, 4, 4, dtype=torch.long)
    logits[1, 0] += 40  # nothing is hard in it
    logits.requires_grad_()
    ohem_loss(logits, target, threshold=0.5).backward()
    assert logits.grad is not None
    assert (logits.grad[1] != 0).flatten(1).any(0).sum() == 1
