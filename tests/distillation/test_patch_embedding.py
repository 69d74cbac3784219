import pytest
import torch

from effiseg.distillation import patch_embedding_loss
from effiseg.errors import UsageError


def test_equation_8_by_hand() -> None:
    student = torch.tensor([[[1.0, 2.0], [3.0, -1.0]]], dtype=torch.float64)
    teacher = torch.tensor([[[0.0, 2.0], [1.0, 2.0]]], dtype=torch.float64)
    assert patch_embedding_loss(student, teacher).item() == (1 + 0 + 4 + 9) / 4


def test_gradient_reaches_the_student_only_and_is_right() -> None:
    torch.manual_seed(0)
    student = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: patch_embedding_loss(s, teacher), (student,))
    patch_embedding_loss(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None
    torch.testing.assert_close(student.grad, 2 * (student - teacher).detach() / 24)


def test_half_precision_is_computed_in_float32() -> None:
    torch.manual_seed(1)
    student, teacher = 300 * torch.randn(2, 2, 30, 8).half()  # squares overflow fp16
    with torch.autocast("cpu", dtype=torch.float16):
        found = patch_embedding_loss(student, teacher)
    assert found.isfinite()
    assert torch.equal(found, patch_embedding_loss(student.float(), teacher.float()))


def test_different_shapes_are_refused() -> None:
    with pytest.raises(UsageError, match="same shape"):
        patch_embedding_loss(torch.zeros(1, 4, 3), torch.zeros(1, 1, 3))
