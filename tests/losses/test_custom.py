"""Losses that users bring: called as torch's own are, or with the options of ours."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effiseg.errors import UsageError
from effiseg.losses import PixelOptions, cross_entropy_loss, focal_loss
from effiseg.losses.custom import check_custom_loss, custom_loss

CLASSES = 3


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Logits at a quarter of the labels' size, and labels of which some are ignored."""
    generator = torch.Generator().manual_seed(1)
    target = torch.randint(CLASSES, (2, 16, 24), generator=generator, dtype=torch.uint8)
    target[0, :5] = 255
    return torch.randn(2, CLASSES, 4, 6, generator=generator), target


def test_a_loss_of_torch_fits_as_it_is(batch: tuple[Tensor, Tensor]) -> None:
    found = custom_loss(nn.CrossEntropyLoss(ignore_index=255), *batch)
    torch.testing.assert_close(found, cross_entropy_loss(*batch, pixels=PixelOptions(upsample=True)))


def test_a_loss_gets_the_options_that_it_names(batch: tuple[Tensor, Tensor]) -> None:
    weights = torch.tensor([1.0, 2.0, 0.5])
    for loss in (focal_loss, partial(focal_loss, gamma=3.0)):
        found = custom_loss(loss, *batch, weights)
        torch.testing.assert_close(found, loss(*batch, weights, pixels=PixelOptions(upsample=True)))
    own = partial(focal_loss, class_weights=torch.tensor([5.0, 1.0, 1.0]))
    torch.testing.assert_close(custom_loss(own, *batch, weights), own(*batch, pixels=PixelOptions(upsample=True)))


def test_a_module_is_asked_for_the_parameters_of_its_forward(batch: tuple[Tensor, Tensor]) -> None:
    class Weighted(nn.Module):
        def forward(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
            return F.cross_entropy(logits, target, ignore_index=ignore_index)

    wide = F.interpolate(batch[0], batch[1].shape[1:], mode="bilinear")
    expected = F.cross_entropy(wide, batch[1].long(), ignore_index=255)
    torch.testing.assert_close(custom_loss(Weighted(), *batch), expected)


def test_what_a_plain_loss_sees(batch: tuple[Tensor, Tensor]) -> None:
    seen: list[Tensor] = []

    def loss(logits: Tensor, target: Tensor, **others: Any) -> Tensor:
        assert not others
        seen.extend([logits, target])
        return logits.mean()

    custom_loss(loss, batch[0].bfloat16(), batch[1], torch.ones(CLASSES))
    assert [(t.dtype, tuple(t.shape)) for t in seen] == [
        (torch.float32, (2, CLASSES, 16, 24)),
        (torch.int64, (2, 16, 24)),
    ]


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(ignore_index=255), focal_loss])
def test_good_losses_pass(loss: Any) -> None:
    check_custom_loss(loss, CLASSES)


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (nn.CrossEntropyLoss(), "255"),
        (nn.CrossEntropyLoss(ignore_index=255, reduction="none"), r"shape \(2, 32, 32\)"),
        (lambda logits, target: 1.0, "float"),
        (lambda logits, target: logits.detach().mean(), "detached"),
        (lambda logits: logits.mean(), "TypeError"),
        (3, "found 3"),
    ],
)
def test_others_are_one_line(loss: Any, found: str) -> None:
    with pytest.raises(UsageError, match=found) as caught:
        check_custom_loss(loss, CLASSES)
    assert "\n" not in str(caught.value)
