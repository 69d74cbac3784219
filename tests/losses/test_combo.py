import pytest
import torch

from effiseg.losses import Averaging, combo_loss, cross_entropy_loss, dice_loss


@pytest.mark.parametrize("dice_weight", [0.0, 0.5, 0.8, 1.0])
def test_is_the_weighted_sum_values_and_gradients(dice_weight: float) -> None:
    torch.manual_seed(6)
    logits = torch.randn(2, 5, 6, 7, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 5, (2, 6, 7))
    target[0, 0] = 255
    weights = torch.rand(5)
    whole = combo_loss(logits, target, weights, dice_weight=dice_weight, smooth=0.5, averaging=Averaging(classes="all"))
    dice = dice_loss(logits, target, smooth=0.5, averaging=Averaging(classes="all"))
    parts = dice_weight * dice + (1 - dice_weight) * cross_entropy_loss(logits, target, weights)
    torch.testing.assert_close(whole, parts, rtol=1e-14, atol=0)
    (whole_gradient,) = torch.autograd.grad(whole, logits)
    (parts_gradient,) = torch.autograd.grad(parts, logits)
    torch.testing.assert_close(whole_gradient, parts_gradient, rtol=1e-11, atol=1e-17)


def test_jaccard_is_intersection_over_union_of_hard_predictions() -> None:
    logits = torch.zeros(1, 3, 1, 4, dtype=torch.float64)
    logits.scatter_(1, torch.tensor([[[[0, 0, 1, 2]]]]), 800.0)
    target = torch.tensor([[[0, 1, 1, 255]]])
    found = combo_loss(logits, target, dice_weight=1.0, overlap_name="jaccard", smooth=0.0)
    assert found.item() == pytest.approx(1 - (1 / 2 + 1 / 2) / 2, rel=1e-14)
