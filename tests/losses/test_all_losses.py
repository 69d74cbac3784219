"""Identities that hold for every loss, values and gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from effiseg.errors import UsageError
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

K = 5
WEIGHTS = torch.tensor([2.6, 6.7, 0.4, 9.9, 1.0], dtype=torch.float64)
ALL_ROUGH = {"averaging": Averaging("image", "all"), "smooth": 0.0}
# name -> (function, positional arguments, options)
LOSSES: dict[str, tuple[Callable[..., Tensor], tuple[Any, ...], dict[str, Any]]] = {
    "cross_entropy": (cross_entropy_loss, (), {}),
    "weighted_cross_entropy": (cross_entropy_loss, (WEIGHTS,), {}),
    "dice": (dice_loss, (), {}),
    "dice_image": (dice_loss, (), {"averaging": Averaging(sums="image")}),
    "dice_all": (dice_loss, (), {"averaging": Averaging(classes="all"), "smooth": 0.3}),
    "dice_image_all_rough": (dice_loss, (), ALL_ROUGH),
    "focal": (focal_loss, (), {"gamma": 2.0}),
    "focal_soft": (focal_loss, (WEIGHTS,), {"gamma": 0.5, "normalize_weights": "mean"}),
    "focal_plain_weights": (focal_loss, (WEIGHTS,), {"normalize_weights": "none"}),
    "dice_focal": (dice_focal_loss, (WEIGHTS,), {"dice_weight": 0.3, "gamma": 1.5}),
    "tversky": (tversky_loss, (), {"alpha": 0.3, "beta": 0.7}),
    "focal_tversky": (focal_tversky_loss, (), {"alpha": 0.3, "beta": 0.7}),
    "combo": (combo_loss, (WEIGHTS,), {"dice_weight": 0.7, "averaging": Averaging(sums="image")}),
    "combo_jaccard": (combo_loss, (WEIGHTS,), {"overlap_name": "jaccard", "dice_weight": 0.4}),
    "ohem": (ohem_loss, (WEIGHTS,), {"threshold": 0.3}),
    "ohem_of_a_share": (ohem_loss, (), {"threshold": 0.0, "least": 0.3}),
}
UPSAMPLED = PixelOptions(upsample=True)
every_loss = pytest.mark.parametrize("name", LOSSES)


def make_case(seed: int = 0, *, batch: int = 3, size: tuple[int, int] = (6, 7)) -> tuple[Tensor, Tensor]:
    """Logits and a target in which class 4 never occurs and one image in three is all ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, K, *size, generator=generator, dtype=torch.float64)
    target = torch.randint(0, K - 1, (batch, *size), generator=generator)
    target[torch.rand(batch, *size, generator=generator) < 0.3] = 255
    target[1] = 255
    return logits, target


def value_and_gradient(name: str, logits: Tensor, target: Tensor, **extra: Any) -> tuple[Tensor, Tensor]:
    function, args, options = LOSSES[name]
    leaf = logits.clone().requires_grad_()
    value = function(leaf, target, *args, **options, **extra)
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


@every_loss
def test_gradient_is_the_derivative(name: str) -> None:
    function, args, options = LOSSES[name]
    logits, target = make_case(size=(3, 4))
    assert torch.autograd.gradcheck(
        lambda z: function(z, target, *args, **options), (logits.requires_grad_(),), rtol=1e-5, atol=1e-8
    )


@every_loss
def test_an_ignored_pixel_changes_nothing(name: str) -> None:
    logits, target = make_case()
    ignored = (target == 255).unsqueeze(1).expand_as(logits)
    value, gradient = value_and_gradient(name, logits, target)
    changed = torch.where(ignored, 40 * torch.randn_like(logits) + 3, logits)
    other_value, other_gradient = value_and_gradient(name, changed, target)
    assert torch.equal(value, other_value)
    assert torch.equal(gradient, other_gradient)
    assert torch.all(gradient[ignored] == 0)
    assert torch.any(gradient[~ignored] != 0)


@every_loss
def test_an_all_ignored_image_changes_nothing(name: str) -> None:
    logits, target = make_case()
    kept = torch.tensor([0, 2])
    value, gradient = value_and_gradient(name, logits, target)
    other_value, other_gradient = value_and_gradient(name, logits[kept], target[kept])
    torch.testing.assert_close(value, other_value, rtol=1e-13, atol=0)
    torch.testing.assert_close(gradient[kept], other_gradient, rtol=1e-12, atol=1e-16)


@every_loss
def test_an_all_ignored_batch_gives_zero(name: str) -> None:
    logits, target = make_case()
    value, gradient = value_and_gradient(name, logits.float(), torch.full_like(target, 255))
    assert value == 0
    assert torch.all(gradient == 0)


@every_loss
def test_a_perfect_prediction_gives_zero(name: str) -> None:
    _, target = make_case()
    target[target == 255] = 0
    target[0, 0, 0] = 255
    for dtype in (torch.float64, torch.float32):
        logits = torch.zeros(3, K, 6, 7, dtype=dtype)
        logits.scatter_(1, target.clamp_max(K - 1).unsqueeze(1), 800.0)
        value, gradient = value_and_gradient(name, logits, target)
        assert value.abs() < 1e-6 if dtype == torch.float32 else value.abs() < 1e-14
        assert torch.all(gradient.isfinite())


@every_loss
def test_a_hopeless_prediction_is_finite(name: str) -> None:
    _, target = make_case()
    logits = torch.zeros(3, K, 6, 7)
    logits[:, 4] = 3e4  # never the label, and its exponential overflows
    value, gradient = value_and_gradient(name, logits, target)
    assert value > 0.1
    assert value.isfinite()
    assert torch.all(gradient.isfinite())


@every_loss
def test_a_constant_added_to_the_logits_changes_nothing(name: str) -> None:
    logits, target = make_case()
    shift = torch.randn(3, 1, 6, 7, dtype=torch.float64)
    value, gradient = value_and_gradient(name, logits, target)
    other_value, other_gradient = value_and_gradient(name, logits + shift, target)
    torch.testing.assert_close(value, other_value, rtol=1e-13, atol=0)
    torch.testing.assert_close(gradient, other_gradient, rtol=1e-10, atol=1e-15)
    torch.testing.assert_close(gradient.sum(1), torch.zeros(3, 6, 7, dtype=torch.float64), rtol=0, atol=1e-15)


@every_loss
def test_memory_layout_and_label_type_change_nothing(name: str) -> None:
    logits, target = make_case()
    value, gradient = value_and_gradient(name, logits, target)
    channels_last = logits.to(memory_format=torch.channels_last)
    other_value, other_gradient = value_and_gradient(name, channels_last, target.to(torch.uint8))
    torch.testing.assert_close(value, other_value, rtol=1e-14, atol=0)
    torch.testing.assert_close(gradient, other_gradient, rtol=1e-12, atol=1e-16)


@every_loss
def test_any_ignore_index_gives_the_same(name: str) -> None:
    logits, target = make_case()
    expected = value_and_gradient(name, logits, target)
    for ignore_index in (-100, -1, 77):
        moved = target.masked_fill(target == 255, ignore_index)
        found = value_and_gradient(name, logits, moved, pixels=PixelOptions(ignore_index))
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])


def test_an_ignore_index_outside_uint8_ignores_no_class() -> None:
    logits, target = make_case()
    target = target.clamp_max(3).to(torch.uint8)
    target[0, 0, 0] = 4
    # -252 is 4 in uint8 arithmetic.
    found = cross_entropy_loss(logits, target, pixels=PixelOptions(-252))
    assert torch.equal(found, cross_entropy_loss(logits, target.long()))


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    logits, target = make_case()
    half = logits.to(dtype)
    expected, gradient = value_and_gradient(name, half.float(), target)
    with torch.autocast("cpu", dtype=dtype):
        value, half_gradient = value_and_gradient(name, half, target)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)
    assert half_gradient.dtype == dtype
    torch.testing.assert_close(half_gradient, gradient.to(dtype), rtol=0, atol=0)


@every_loss
def test_float64_is_kept_under_autocast(name: str) -> None:
    logits, target = make_case()
    expected, _ = value_and_gradient(name, logits, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, _ = value_and_gradient(name, logits, target)
    assert value.dtype == torch.float64
    assert torch.equal(value, expected)


@every_loss
def test_without_a_process_group_across_processes_is_the_same(name: str) -> None:
    logits, target = make_case()
    expected = value_and_gradient(name, logits, target)
    found = value_and_gradient(name, logits, target, pixels=PixelOptions(across_processes=True))
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


@every_loss
def test_wrong_shapes_and_types_are_refused_in_one_line(name: str) -> None:
    function, args, options = LOSSES[name]
    logits, target = make_case()
    for bad in (target[:, :3], target[:1], target.float(), target == 0):
        with pytest.raises(UsageError) as caught:
            function(logits, bad, *args, **options)
        assert "\n" not in str(caught.value)
    for bad in (target[:1], target[:, 0], target.float(), target == 0):
        with pytest.raises(UsageError):
            function(logits, bad, *args, **options, pixels=UPSAMPLED)


@pytest.mark.parametrize("name", ["weighted_cross_entropy", "focal_plain_weights", "dice_focal", "combo", "ohem"])
def test_a_missing_class_weight_is_refused(name: str) -> None:
    logits, target = make_case()
    with pytest.raises(UsageError, match="one weight per class"):
        LOSSES[name][0](logits, target, WEIGHTS[:-1])


@pytest.mark.parametrize("name", ["weighted_cross_entropy", "focal_plain_weights"])
def test_classes_of_weight_zero_alone_give_zero(name: str) -> None:
    logits, target = make_case()
    leaf = logits.requires_grad_()
    value = LOSSES[name][0](leaf, target, torch.tensor([0.0, 0, 0, 0, 1]))
    value.backward()
    assert value == 0
    assert leaf.grad is not None
    assert torch.all(leaf.grad == 0)


def small_logits(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Logits (3, K, 6, 7), confident in places, and a target of the given size as `make_case` gives."""
    logits, _ = make_case()
    _, target = make_case(seed=1, size=size)
    return 4 * logits, target


def upsampled_before(name: str, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    large = F.interpolate(leaf, target.shape[1:], mode="bilinear", align_corners=False)
    function, args, options = LOSSES[name]
    value = function(large, target, *args, **options)
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


@every_loss
@pytest.mark.parametrize("size", [(24, 28), (23, 25), (6, 30), (37, 3)])
@pytest.mark.parametrize("band_numbers", [1, 700, 1 << 18])
def test_upsampling_inside_equals_upsampling_before(
    name: str, size: tuple[int, int], band_numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("effiseg.losses.pixels._BAND_NUMBERS", band_numbers)
    monkeypatch.setattr("effiseg.losses.pixels._TILE", 10)
    logits, target = small_logits(size)
    value, gradient = value_and_gradient(name, logits, target, pixels=UPSAMPLED)
    expected, expected_gradient = upsampled_before(name, logits, target)
    torch.testing.assert_close(value, expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-15)
    single, single_gradient = value_and_gradient(
        name, logits.float().to(memory_format=torch.channels_last), target.to(torch.uint8), pixels=UPSAMPLED
    )
    torch.testing.assert_close(single.double(), expected, rtol=3e-6, atol=0)
    torch.testing.assert_close(single_gradient.double(), expected_gradient, rtol=1e-4, atol=1e-7)
    with torch.no_grad():
        function, args, options = LOSSES[name]
        assert torch.equal(function(logits, target, *args, **options, pixels=UPSAMPLED), value)


@every_loss
def test_the_gradient_through_upsampling_is_the_derivative(name: str) -> None:
    function, args, options = LOSSES[name]
    logits, target = make_case(size=(11, 12))
    small = logits[:, :, :3, :4].clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: function(z, target, *args, **options, pixels=UPSAMPLED), (small,), rtol=1e-5, atol=1e-8
    )


@every_loss
def test_ignored_and_extreme_pixels_are_safe_when_upsampling(name: str) -> None:
    logits, target = small_logits((24, 28))
    value, gradient = value_and_gradient(name, logits.float(), torch.full_like(target, 255), pixels=UPSAMPLED)
    assert value == 0
    assert torch.all(gradient == 0)
    for scale in (300.0, 1e4):  # probabilities of 0 in float32, whose logarithm is not to be had
        value, gradient = value_and_gradient(name, scale * logits.float(), target, pixels=UPSAMPLED)
        expected, expected_gradient = upsampled_before(name, scale * logits.float(), target)
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-3, atol=1e-6)


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_upsampled_in_float32(name: str, dtype: torch.dtype) -> None:
    logits, target = small_logits((24, 28))
    half = logits.to(dtype)
    expected, gradient = value_and_gradient(name, half.float(), target, pixels=UPSAMPLED)
    function, args, options = LOSSES[name]
    leaf = half.requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        value = function(leaf, target, *args, **options, pixels=UPSAMPLED)
        value.backward()
    assert torch.equal(value, expected)
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, gradient.to(dtype))


@every_loss
def test_nothing_of_the_upsampled_size_is_kept_for_the_gradient(name: str) -> None:
    function, args, options = LOSSES[name]
    logits, target = small_logits((48, 56))
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        function(logits.requires_grad_(), target, *args, **options, pixels=UPSAMPLED)
    assert 0 < max(kept) <= target.numel() < target.numel() * K


@pytest.mark.parametrize("name", ["weighted_cross_entropy", "dice_focal"])
def test_a_compiled_loss_is_one_graph_with_the_same_values(name: str) -> None:
    function, args, options = LOSSES[name]
    logits, target = small_logits((24, 28))
    compiled = torch.compile(
        lambda z: function(z, target, *args, **options, pixels=UPSAMPLED), backend="aot_eager", fullgraph=True
    )
    leaf = logits.clone().requires_grad_()
    value = compiled(leaf)
    value.backward()
    expected, gradient = upsampled_before(name, logits, target)
    assert leaf.grad is not None
    torch.testing.assert_close(value, expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(leaf.grad, gradient, rtol=1e-10, atol=1e-15)
