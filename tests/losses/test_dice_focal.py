import pytest
import torch

from effiseg.losses import Averaging, dice_focal_loss, dice_loss, focal_loss


@pytest.mark.parametrize("dice_weight", [0.0, 0.5, 0.8, 1.0])
def test_equation_14_values_and_gradients(dice_weight: float) -> None:
    torch.manual_seed(4)
    logits = torch.randn(2, 5, 6, 7, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 5, (2, 6, 7))
    target[0, 0] = 255
    weights = torch.rand(5)
    whole = dice_focal_loss(
        logits, target, weights, dice_weight=dice_weight, gamma=3.0, smooth=0.5, averaging=Averaging("image", "all")
    )
    dice = dice_loss(logits, target, smooth=0.5, averaging=Averaging("image", "all"))
    focal = focal_loss(logits, target, weights, gamma=3.0)
    parts = dice_weight * dice + (1 - dice_weight) * focal
    torch.testing.assert_close(whole, parts, rtol=1e-14, atol=0)
    (whole_gradient,) = torch.autograd.grad(whole, logits)
    (parts_gradient,) = torch.autograd.grad(parts, logits)
    torch.testing.assert_close(whole_gradient, parts_gradient, rtol=1e-11, atol=1e-17)


def test_defaults_are_the_papers() -> None:
    torch.manual_seed(5)
    logits, target = torch.randn(1, 3, 4, 4), torch.randint(0, 3, (1, 4, 4))
    weights = torch.tensor([2.6, 6.7, 10.4])
    focal = focal_loss(logits, target, weights / weights.max(), gamma=2.0, normalize_weights="none")
    expected = 0.5 * dice_loss(logits, target, smooth=1.0) + 0.5 * focal
    torch.testing.assert_close(dice_focal_loss(logits, target, weights), expected)
