import math

import pytest
import torch

from effiseg.distillation import kl_distillation_loss
from effiseg.errors import UsageError


def test_equation_4_by_hand() -> None:
    teacher = torch.tensor([[0.5, 0.2], [0.5, 0.8]], dtype=torch.float64)
    student = torch.tensor([[0.25, 0.6], [0.75, 0.4]], dtype=torch.float64)
    first = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    second = 0.2 * math.log(0.2 / 0.6) + 0.8 * math.log(0.8 / 0.4)
    found = kl_distillation_loss(student.log().view(1, 2, 1, 2), teacher.log().view(1, 2, 1, 2))
    assert found.item() == pytest.approx((first + second) / 2, rel=1e-14)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_literal_formula_with_temperature(temperature: float) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 5, 4, 6, dtype=torch.float64)
    p_t, p_s = (teacher / temperature).softmax(1), (student / temperature).softmax(1)
    expected = temperature**2 * (p_t * (p_t / p_s).log()).sum(1).mean()
    found = kl_distillation_loss(student, teacher, temperature)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_gradient_reaches_the_student_only_and_is_right() -> None:
    torch.manual_seed(1)
    student, teacher = torch.randn(2, 1, 3, 2, 3, dtype=torch.float64).unbind()
    teacher = teacher.clone().requires_grad_()
    student = student.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: kl_distillation_loss(z, teacher, 2.0), (student,))
    kl_distillation_loss(student, teacher).backward()
    assert teacher.grad is None


def test_identities() -> None:
    torch.manual_seed(2)
    logits = torch.randn(2, 5, 4, 6, dtype=torch.float64, requires_grad=True)
    same = kl_distillation_loss(logits, logits.detach() + 3)
    same.backward()
    assert same.abs() < 1e-15
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-15
    # Independent of the number of pixels: the same map twice as large costs the same.
    teacher = torch.randn(2, 5, 4, 6, dtype=torch.float64)
    doubled = kl_distillation_loss(torch.cat([logits, logits], 3), torch.cat([teacher, teacher], 3))
    torch.testing.assert_close(doubled, kl_distillation_loss(logits, teacher), rtol=1e-13, atol=0)


def test_confident_teachers_are_finite() -> None:
    teacher = torch.zeros(1, 3, 2, 2)
    teacher[:, 0] = 1e4
    student = torch.zeros(1, 3, 2, 2)
    student[:, 1] = 1e4
    student.requires_grad_()
    loss = kl_distillation_loss(student, teacher)
    loss.backward()
    assert loss == 1e4
    assert student.grad is not None
    assert torch.all(student.grad.isfinite())


def test_half_precision_is_computed_in_float32() -> None:
    torch.manual_seed(3)
    student, teacher = torch.randn(2, 2, 5, 4, 6).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = kl_distillation_loss(student, teacher, 3.0)
    assert torch.equal(found, kl_distillation_loss(student.float(), teacher.float(), 3.0))


def test_mistakes_are_refused() -> None:
    with pytest.raises(UsageError, match="same classes"):
        kl_distillation_loss(torch.zeros(1, 3, 2, 2), torch.zeros(1, 4, 2, 2))
