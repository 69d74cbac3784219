import math

import pytest
import torch
from torch import Tensor

from effiseg.distillation import cosine_feature_loss
from effiseg.distillation.feature import plain_cosine_feature_loss
from effiseg.errors import UsageError


def literal(student: Tensor, teacher: Tensor, mse_weight: float, cosine_weight: float, detach_guidance: bool) -> Tensor:
    """Equations 5–7 term by term, image by image."""
    images = []
    for f_s, f_t in zip(student, teacher, strict=True):
        channels, height, width = f_s.shape
        s_c = (f_t * f_s).sum(0) / ((f_t**2).sum(0).sqrt() * (f_s**2).sum(0).sqrt())
        s_s = (f_t * f_s).sum((1, 2)) / ((f_t**2).sum((1, 2)).sqrt() * (f_s**2).sum((1, 2)).sqrt())
        guide = ((1 - s_c).view(1, height, width) * (1 - s_s).view(channels, 1, 1)).abs()
        if detach_guidance:
            guide = guide.detach()
        images.append(
            mse_weight / (channels * height * width) * (guide * (f_t - f_s) ** 2).sum()
            + cosine_weight / (height * width) * (1 - s_c).sum()
            + cosine_weight / channels * (1 - s_s).sum()
        )
    return torch.stack(images).mean()


@pytest.mark.parametrize("detach_guidance", [True, False])
@pytest.mark.parametrize("weights", [(1.0, 0.5), (0.0, 1.0), (2.0, 0.0), (0.3, 0.7)])
@pytest.mark.parametrize("channels_last", [True, False])
def test_equals_the_literal_equations(detach_guidance: bool, weights: tuple[float, float], channels_last: bool) -> None:
    torch.manual_seed(0)
    student = torch.randn(3, 6, 4, 5, dtype=torch.float64, requires_grad=True)
    teacher = 0.5 * student.detach() + torch.randn(3, 6, 4, 5, dtype=torch.float64) + 0.3
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    ours = cosine_feature_loss(
        student.contiguous(memory_format=memory_format),
        teacher.contiguous(memory_format=memory_format),
        *weights,
        detach_guidance,
    )
    theirs = literal(student, teacher, *weights, detach_guidance)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    (ours_gradient,) = torch.autograd.grad(ours, student)
    (theirs_gradient,) = torch.autograd.grad(theirs, student)
    torch.testing.assert_close(ours_gradient, theirs_gradient, rtol=1e-10, atol=1e-16)


def test_equations_5_to_7_by_hand() -> None:
    # C = 2, H×W = 1×2. Teacher columns (3, 4) and (1, 0), student columns (4, 3) and (0, 2).
    teacher = torch.tensor([[3.0, 1.0], [4.0, 0.0]], dtype=torch.float64).view(1, 2, 1, 2)
    student = torch.tensor([[4.0, 0.0], [3.0, 2.0]], dtype=torch.float64).view(1, 2, 1, 2)
    gap_c = (1 - 24 / 25, 1 - 0.0)
    gap_s = (1 - 12 / (math.sqrt(10) * 4), 1 - 12 / (4 * math.sqrt(13)))
    guided = gap_c[0] * gap_s[0] * 1 + gap_c[1] * gap_s[0] * 1 + gap_c[0] * gap_s[1] * 1 + gap_c[1] * gap_s[1] * 4
    expected = guided / 4 + 0.5 * sum(gap_c) / 2 + 0.5 * sum(gap_s) / 2
    assert cosine_feature_loss(student, teacher).item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("weights", [(1.0, 0.5), (0.0, 1.0)])
def test_gradient_is_the_derivative(weights: tuple[float, float]) -> None:
    # With the guidance attached; detached it is no derivative, and compared with the literal equations above.
    torch.manual_seed(1)
    student = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda s: cosine_feature_loss(s, teacher, *weights, detach_guidance=False), (student,)
    )
    cosine_feature_loss(student, teacher).backward()
    assert teacher.grad is None


def test_guidance_changes_gradients_but_no_value() -> None:
    torch.manual_seed(2)
    student = torch.randn(2, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    detached = cosine_feature_loss(student, teacher, detach_guidance=True)
    attached = cosine_feature_loss(student, teacher, detach_guidance=False)
    assert torch.equal(detached, attached)
    (one,), (other,) = torch.autograd.grad(detached, student), torch.autograd.grad(attached, student)
    assert not torch.allclose(one, other, rtol=1e-3)


def test_equal_maps_cost_nothing() -> None:
    torch.manual_seed(3)
    student = torch.randn(2, 8, 5, 4, requires_grad=True)
    loss = cosine_feature_loss(student, student.detach())
    loss.backward()
    assert loss.abs() < 1e-6
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-6
    # A multiple points the same way: no cosine gap, hence no guidance, hence no squared difference.
    assert cosine_feature_loss(3 * student, student).abs() < 1e-6


def test_image_means_are_averaged_over_the_batch() -> None:
    torch.manual_seed(4)
    student, teacher = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64)
    images = [cosine_feature_loss(student[i : i + 1], teacher[i : i + 1]) for i in range(3)]
    found = cosine_feature_loss(student, teacher)
    torch.testing.assert_close(found, torch.stack(images).mean(), rtol=1e-13, atol=0)


@pytest.mark.parametrize("detach_guidance", [True, False])
def test_zero_vectors_are_safe(detach_guidance: bool) -> None:
    torch.manual_seed(5)
    student, teacher = torch.randn(2, 1, 4, 3, 3)
    student, teacher = student.clone(), teacher.clone()
    student[:, :, 0, 0] = 0  # a position
    student[:, 1] = 0  # a channel
    teacher[:, 2] = 0
    student.requires_grad_()
    for s, t in (
        (student, teacher),
        (student * 0, teacher),
        (student, teacher * 0),
        (student * 0, teacher * 0),
    ):
        loss = cosine_feature_loss(s, t, detach_guidance=detach_guidance)
        (gradient,) = torch.autograd.grad(loss, student)
        assert loss.isfinite()
        assert gradient.abs().max() < 100
    assert cosine_feature_loss(student * 0, teacher * 0) == 1  # cosine 0 everywhere: ½ · 1 + ½ · 1


def test_half_precision_is_computed_in_float32() -> None:
    torch.manual_seed(6)
    student, teacher = 100 * torch.randn(2, 2, 16, 12, 12).half()  # squares overflow fp16
    with torch.autocast("cpu", dtype=torch.float16):
        found = cosine_feature_loss(student, teacher)
    assert found.isfinite()
    assert torch.equal(found, cosine_feature_loss(student.float(), teacher.float()))


def test_different_shapes_are_refused() -> None:
    with pytest.raises(UsageError, match="same shape"):
        cosine_feature_loss(torch.zeros(1, 3, 2, 2), torch.zeros(1, 4, 2, 2))


@pytest.mark.parametrize("detach_guidance", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("piece_numbers", [1, 20, 1 << 18])
def test_pieces_equal_the_plain_form(
    detach_guidance: bool, dtype: torch.dtype, piece_numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("effiseg.distillation.feature._PIECE_NUMBERS", piece_numbers)
    torch.manual_seed(7)
    student = torch.randn(2, 6, 5, 7).to(dtype).to(memory_format=torch.channels_last).requires_grad_()
    teacher = (student + 0.5 * torch.randn(2, 6, 5, 7)).detach().to(dtype)
    found = cosine_feature_loss(student, teacher, 0.7, 0.3, detach_guidance)
    expected = plain_cosine_feature_loss(student, teacher, 0.7, 0.3, detach_guidance)
    (gradient,), (expected_gradient,) = (torch.autograd.grad(3 * loss, student) for loss in (found, expected))
    precision = 1e-13 if dtype == torch.float64 else 3e-6
    torch.testing.assert_close(found, expected, rtol=precision, atol=0)
    assert gradient.dtype == dtype
    torch.testing.assert_close(
        gradient.double(), expected_gradient.double(), rtol=max(precision, torch.finfo(dtype).eps), atol=precision
    )


def test_only_the_two_maps_are_kept_for_the_gradient() -> None:
    student = torch.randn(2, 64, 16, 16, requires_grad=True)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        cosine_feature_loss(student, torch.randn(2, 64, 16, 16))
    # One vector of positions and one of channels for each of seven sums and cosines at most.
    assert 2 * student.numel() <= sum(kept.values()) <= 2 * student.numel() + 7 * 2 * (16 * 16 + 64)


def test_compiled_it_is_one_graph_with_the_same_values() -> None:
    torch.manual_seed(8)
    student = torch.randn(2, 6, 5, 7, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    compiled = torch.compile(cosine_feature_loss, backend="aot_eager", fullgraph=True)
    found, expected = compiled(student, teacher), cosine_feature_loss(student, teacher)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=0)
    (gradient,), (expected_gradient,) = (torch.autograd.grad(loss, student) for loss in (found, expected))
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-16)
