import pytest
import torch

from effiseg.losses import Averaging, dice_loss, focal_tversky_loss, tversky_loss


def make_case() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(7)
    logits = torch.randn(3, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 3, (3, 5, 6))
    target[torch.rand(3, 5, 6) < 0.3] = 255
    return logits, target


@pytest.mark.parametrize("sums", ["batch", "image"])
@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("smooth", [0.0, 1.0, 3.0])
def test_halves_are_dice(sums: str, classes: str, smooth: float) -> None:
    logits, target = make_case()
    options = {"averaging": Averaging(sums, classes), "smooth": smooth}
    tversky, dice = tversky_loss(logits, target, **options), dice_loss(logits, target, **options)
    torch.testing.assert_close(tversky, dice, rtol=1e-12, atol=0)
    (tversky_gradient,) = torch.autograd.grad(tversky, logits)
    (dice_gradient,) = torch.autograd.grad(dice, logits)
    torch.testing.assert_close(tversky_gradient, dice_gradient, rtol=1e-10, atol=1e-16)


def test_by_hand_alpha_is_on_false_positives() -> None:
    p = torch.tensor([0.9, 0.6, 0.2, 0.99], dtype=torch.float64)
    logits = torch.stack([p, 1 - p]).log().view(1, 2, 2, 2)
    target = torch.tensor([[[0, 1], [1, 255]]])
    # Class 0: TP 0.9, FP 0.8, FN 0.1; class 1: TP 1.2, FP 0.1, FN 0.8.
    class_0 = 1 - 1.4 / (1.4 + 0.3 * 0.8 + 0.7 * 0.1)
    class_1 = 1 - 1.7 / (1.7 + 0.3 * 0.1 + 0.7 * 0.8)
    found = tversky_loss(logits, target, alpha=0.3, beta=0.7)
    assert found.item() == pytest.approx((class_0 + class_1) / 2, rel=1e-13)
    focal = focal_tversky_loss(logits, target, alpha=0.3, beta=0.7, gamma=4 / 3)
    assert focal.item() == pytest.approx((class_0**0.75 + class_1**0.75) / 2, rel=1e-13)


def test_focal_gamma_1_is_tversky() -> None:
    logits, target = make_case()
    focal = focal_tversky_loss(logits, target, alpha=0.2, beta=0.6, gamma=1.0)
    torch.testing.assert_close(focal, tversky_loss(logits, target, alpha=0.2, beta=0.6), rtol=1e-13, atol=0)


@pytest.mark.parametrize("confidence", [8.0, 16.0, 30.0, 200.0])
def test_focal_gradient_is_finite_near_1(confidence: float) -> None:
    target = torch.randint(0, 3, (2, 4, 4), generator=torch.Generator().manual_seed(8))
    logits = torch.zeros(2, 3, 4, 4).scatter_(1, target.unsqueeze(1), confidence).requires_grad_()
    loss = focal_tversky_loss(logits, target)
    loss.backward()
    assert logits.grad is not None
    assert torch.all(logits.grad.isfinite())
    assert logits.grad.abs().max() < 1
    assert 0 <= loss + 1e-6 < 0.02


def test_focal_join_is_continuous_and_monotone() -> None:
    # One pixel whose miss falls through the join from above: the loss must fall with it.
    target = torch.zeros(1, 1, 1, dtype=torch.long)
    gaps = torch.linspace(28, 40, 200, dtype=torch.float64)
    losses = [
        focal_tversky_loss(torch.tensor([gap, 0.0], dtype=torch.float64).view(1, 2, 1, 1), target).item()
        for gap in gaps.tolist()
    ]
    steps = torch.tensor(losses).diff()
    assert torch.all(steps <= 0)
    assert steps.abs().max() < 1e-10


def test_equals_monai() -> None:
    losses = pytest.importorskip("monai.losses", reason="monai is an oracle of the development environment")
    torch.manual_seed(9)
    logits = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    target = torch.randint(0, 4, (2, 6, 6))
    theirs = losses.TverskyLoss(
        include_background=True,
        to_onehot_y=True,
        softmax=True,
        alpha=0.3,
        beta=0.7,
        batch=True,
        smooth_nr=0.5,
        smooth_dr=0.5,
    )(logits, target.unsqueeze(1))
    ours = tversky_loss(logits, target, alpha=0.3, beta=0.7, averaging=Averaging(classes="all"))
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7, check_dtype=False)
