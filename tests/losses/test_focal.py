import math

import pytest
import torch

from effiseg.errors import UsageError
from effiseg.losses import cross_entropy_loss, focal_loss


def make_case() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    logits = torch.randn(2, 5, 6, 7, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 5, (2, 6, 7))
    return logits, target


def test_gamma_0_without_weights_is_cross_entropy() -> None:
    logits, target = make_case()
    target[0, 0] = 255
    focal, cross_entropy = focal_loss(logits, target, gamma=0.0), cross_entropy_loss(logits, target)
    assert torch.equal(focal, cross_entropy)
    (focal_gradient,) = torch.autograd.grad(focal, logits)
    (cross_entropy_gradient,) = torch.autograd.grad(cross_entropy, logits)
    assert torch.equal(focal_gradient, cross_entropy_gradient)


def test_gamma_near_0_approaches_cross_entropy() -> None:
    logits, target = make_case()
    torch.testing.assert_close(
        focal_loss(logits, target, gamma=1e-9), cross_entropy_loss(logits, target), rtol=1e-8, atol=0
    )


def test_equation_12_by_hand() -> None:
    # Labels 0 and 1 with p = 0.75 and 2/3, one ignored; weights 2 and 5.
    p = torch.tensor([[0.75, 1 / 3, 0.5], [0.25, 2 / 3, 0.5]], dtype=torch.float64)
    logits = p.log().view(1, 2, 1, 3)
    target = torch.tensor([[[0, 1, 255]]])
    terms = -(0.25**2) * math.log(0.75), -((1 / 3) ** 2) * math.log(2 / 3)
    weights = torch.tensor([2.0, 5.0], dtype=torch.float64)
    for normalize, alpha in (("none", (2, 5)), ("max", (0.4, 1)), ("mean", (2 / 3.5, 5 / 3.5))):
        expected = (alpha[0] * terms[0] + alpha[1] * terms[1]) / 2
        found = focal_loss(logits, target, weights, normalize_weights=normalize)
        assert found.item() == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_monai(gamma: float, weighted: bool) -> None:
    losses = pytest.importorskip("monai.losses", reason="monai is an oracle of the development environment")
    logits, target = make_case()
    weights = torch.rand(5, dtype=torch.float64) if weighted else None
    monai = losses.FocalLoss(
        include_background=True,
        to_onehot_y=True,
        use_softmax=True,
        gamma=gamma,
        weight=weights,
        reduction="none",
    )
    theirs = monai(logits, target.unsqueeze(1)).sum() / target.numel()  # its own mean counts classes too
    ours = focal_loss(logits, target, weights, gamma=gamma, normalize_weights="none")
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0, check_dtype=False)  # monai: float32
    (ours_gradient,) = torch.autograd.grad(ours, logits)
    (theirs_gradient,) = torch.autograd.grad(theirs, logits)
    torch.testing.assert_close(ours_gradient, theirs_gradient, rtol=1e-4, atol=1e-7)


def test_unknown_normalization_is_refused() -> None:
    logits, target = make_case()
    with pytest.raises(UsageError, match="found 'sum'"):
        focal_loss(logits, target, torch.ones(5), normalize_weights="sum")
