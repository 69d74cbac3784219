import pytest
import torch

from effiseg.errors import UsageError
from effiseg.losses import Averaging, dice_loss


def literal_dice(probabilities: torch.Tensor, one_hot: torch.Tensor, smooth: float) -> torch.Tensor:
    """Equation 10 for every class, sums over all pixels given: (K, N) and (K, N) -> (K,)."""
    numerator = 2 * (probabilities * one_hot).sum(1) + smooth
    return 1 - numerator / (probabilities.sum(1) + one_hot.sum(1) + smooth)


def make_case() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    logits = torch.randn(3, 4, 5, 6, dtype=torch.float64)
    target = torch.randint(0, 3, (3, 5, 6))  # class 3 never occurs
    target[0][target[0] == 2] = 1  # and class 2 not in the first image
    target[torch.rand(3, 5, 6) < 0.3] = 255
    return logits, target


def test_equation_10_by_hand() -> None:
    # Three labelled pixels, p of class 0: 0.9, 0.6, 0.2; labels 0, 1, 1. One ignored pixel with p = 0.99.
    p = torch.tensor([0.9, 0.6, 0.2, 0.99], dtype=torch.float64)
    logits = torch.stack([p, 1 - p]).log().view(1, 2, 2, 2)
    target = torch.tensor([[[0, 1], [1, 255]]])
    class_0 = 1 - (2 * 0.9 + 1) / (1.7 + 1 + 1)
    class_1 = 1 - (2 * (0.4 + 0.8) + 1) / (1.3 + 2 + 1)
    assert dice_loss(logits, target).item() == pytest.approx((class_0 + class_1) / 2, rel=1e-14)


@pytest.mark.parametrize("smooth", [0.0, 1.0, 2.5])
def test_equation_11_to_the_letter(smooth: float) -> None:
    logits, target = make_case()
    valid = target != 255
    p = logits.softmax(1).movedim(1, 0)[:, valid]
    one_hot = torch.stack([target[valid] == k for k in range(4)]).double()
    per_class = literal_dice(p, one_hot, smooth)
    everything = dice_loss(logits, target, smooth=smooth, averaging=Averaging(classes="all"))
    present = dice_loss(logits, target, smooth=smooth, averaging=Averaging(classes="present"))
    torch.testing.assert_close(everything, per_class.mean(), rtol=1e-13, atol=0)
    torch.testing.assert_close(present, per_class[:3].mean(), rtol=1e-13, atol=0)


@pytest.mark.parametrize("classes", ["present", "all"])
def test_image_sums_average_the_images(classes: str) -> None:
    logits, target = make_case()
    images = [dice_loss(logits[i : i + 1], target[i : i + 1], averaging=Averaging(classes=classes)) for i in range(3)]
    found = dice_loss(logits, target, averaging=Averaging("image", classes))
    torch.testing.assert_close(found, torch.stack(images).mean(), rtol=1e-13, atol=0)
    assert found != dice_loss(logits, target, averaging=Averaging("batch", classes))


def test_one_image_has_equal_sums_either_way() -> None:
    logits, target = make_case()
    batch = dice_loss(logits[:1], target[:1], averaging=Averaging("batch"))
    image = dice_loss(logits[:1], target[:1], averaging=Averaging("image"))
    torch.testing.assert_close(batch, image, rtol=1e-14, atol=0)


def test_large_maps_keep_their_digits_in_float32() -> None:
    # Half a million equal addends: one running float32 sum for each class is off by 3e-3.
    logits = torch.zeros(1, 2, 512, 1024)
    logits[:, 0] = 4.0
    target = torch.zeros(1, 512, 1024, dtype=torch.uint8)
    expected = dice_loss(logits.double(), target)
    assert dice_loss(logits, target).item() == pytest.approx(expected.item(), abs=1e-5)


def test_equals_monai() -> None:
    losses = pytest.importorskip("monai.losses", reason="monai is an oracle of the development environment")
    torch.manual_seed(2)
    logits = torch.randn(2, 4, 6, 6, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 4, (2, 6, 6))
    for batch, sums in ((True, "batch"), (False, "image")):
        theirs = losses.DiceLoss(
            include_background=True,
            to_onehot_y=True,
            softmax=True,
            batch=batch,
            smooth_nr=1.0,
            smooth_dr=1.0,
        )(logits, target.unsqueeze(1))
        ours = dice_loss(logits, target, averaging=Averaging(sums, "all"))
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)  # monai's one-hot is float32
        (ours_gradient,) = torch.autograd.grad(ours, logits)
        (theirs_gradient,) = torch.autograd.grad(theirs, logits)
        torch.testing.assert_close(ours_gradient, theirs_gradient, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("options", [{"sums": "pixel"}, {"classes": "some"}])
def test_unknown_options_are_refused(options: dict[str, str]) -> None:
    logits, target = make_case()
    with pytest.raises(UsageError, match=next(iter(options.values()))):
        dice_loss(logits, target, averaging=Averaging(**options))
