"""Losses: what must not change them, whatever the sizes, classes and labels."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from effiseg.losses import (
    Averaging,
    PixelOptions,
    combo_loss,
    cross_entropy_loss,
    dice_focal_loss,
    dice_loss,
    focal_loss,
    focal_tversky_loss,
    ohem_loss,
    tversky_loss,
)

LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": lambda z, t, w, **more: cross_entropy_loss(z, t, w, **more),
    "focal": lambda z, t, w, **more: focal_loss(z, t, w, gamma=1.5, **more),
    "dice": lambda z, t, w, **more: dice_loss(z, t, **more),
    "dice of images": lambda z, t, w, **more: dice_loss(z, t, averaging=Averaging("image", "all"), **more),
    "dice_focal": lambda z, t, w, **more: dice_focal_loss(z, t, w, **more),
    "tversky": lambda z, t, w, **more: tversky_loss(z, t, alpha=0.3, beta=0.7, **more),
    "focal_tversky": lambda z, t, w, **more: focal_tversky_loss(z, t, alpha=0.3, beta=0.7, **more),
    "combo": lambda z, t, w, **more: combo_loss(z, t, w, **more),
    "combo_jaccard": lambda z, t, w, **more: combo_loss(z, t, w, overlap_name="jaccard", **more),
    "ohem": lambda z, t, w, threshold=0.4, **more: ohem_loss(z, t, w, threshold=threshold, **more),
}
every_loss = pytest.mark.parametrize("name", LOSSES)
few = settings(max_examples=12)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (B, K, H, W), a target of classes and ignored pixels, and class weights, in double precision."""
    batch, classes = draw(st.integers(1, 3)), draw(st.integers(2, 6))
    size = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.sampled_from([0.1, 1.0, 8.0]))
    logits = scale * torch.randn(batch, classes, *size, generator=generator, dtype=torch.float64)
    target = torch.randint(0, classes, (batch, *size), generator=generator)
    target[torch.rand(batch, *size, generator=generator) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = 255
    weights = 0.1 + torch.rand(classes, generator=generator, dtype=torch.float64)
    return logits, target, weights


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@every_loss
@few
@given(case=cases())
def test_a_loss_is_finite_and_never_negative(name: str, case: tuple[Tensor, Tensor, Tensor]) -> None:
    value = LOSSES[name](*case)
    assert value.isfinite()
    assert value >= -1e-12
    if name.startswith(("dice of", "tversky")) or name == "dice":
        assert value <= 1 + 1e-12


@every_loss
@few
@given(case=cases(), seed=st.integers(0, 1000))
def test_the_order_of_classes_images_and_pixels_does_not_matter(name: str, case, seed: int) -> None:
    logits, target, weights = case
    generator = torch.Generator().manual_seed(seed)
    expected = LOSSES[name](logits, target, weights)
    order = torch.randperm(logits.shape[1], generator=generator)
    renamed = torch.where(target == 255, target, order.argsort()[target.clamp_max(logits.shape[1] - 1)])
    close(LOSSES[name](logits[:, order], renamed, weights[order]), expected)
    images = torch.randperm(len(logits), generator=generator)
    close(LOSSES[name](logits[images], target[images], weights), expected)
    close(LOSSES[name](logits.flip(2, 3), target.flip(1, 2), weights), expected)


@every_loss
@few
@given(case=cases(), shift=st.floats(-50, 50))
def test_only_differences_of_logits_count_and_only_of_labelled_pixels(name: str, case, shift: float) -> None:
    logits, target, weights = case
    shifts = shift * torch.linspace(0, 1, target.numel(), dtype=torch.float64).view(target.shape).unsqueeze(1)
    expected = LOSSES[name](logits, target, weights)
    torch.testing.assert_close(LOSSES[name](logits + shifts, target, weights), expected, rtol=1e-7, atol=1e-10)
    ignored = (target == 255).unsqueeze(1)
    close(LOSSES[name](torch.where(ignored, -3 * logits + shift, logits), target, weights), expected)


@every_loss
@few
@given(case=cases())
def test_upsampling_inside_is_upsampling_before(name: str, case) -> None:
    logits, target, weights = case
    larger = target.repeat_interleave(3, 1).repeat_interleave(2, 2)
    before = F.interpolate(logits, larger.shape[1:], mode="bilinear", align_corners=False)
    more = {"threshold": 1.0} if name == "ohem" else {}  # all pixels: which of equally hard ones count is rounding
    found = LOSSES[name](logits, larger, weights, pixels=PixelOptions(upsample=True), **more)
    torch.testing.assert_close(found, LOSSES[name](before, larger, weights, **more), rtol=1e-7, atol=1e-9)


@few
@given(case=cases())
def test_focal_without_focus_is_cross_entropy(case: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, target, _ = case
    close(focal_loss(logits, target, gamma=0.0), cross_entropy_loss(logits, target))
    (labelled := target != 255)
    if labelled.any():
        close(cross_entropy_loss(logits, target), F.cross_entropy(logits, target, ignore_index=255))
