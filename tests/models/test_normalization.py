"""DyT and DyL against their formulas, written out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from effiseg.errors import ModelError
from effiseg.models.normalization import DynamicLinear, DynamicTanh, LayerNorm, build_norm


def test_the_norms_start_as_the_paper_says() -> None:
    tanh, linear = DynamicTanh(4), DynamicLinear(4)
    assert tanh.alpha.shape == (1,)
    assert linear.alpha.shape == (4,)
    for norm in (tanh, linear):
        assert torch.equal(norm.alpha, torch.full_like(norm.alpha, 0.5))
        assert torch.equal(norm.weight, torch.ones(4))
        assert torch.equal(norm.bias, torch.zeros(4))


@pytest.mark.parametrize("kind", ["dyt", "dyl", "derf"])
def test_values_and_gradients_equal_the_formula(kind: str) -> None:
    torch.manual_seed(0)
    norm = build_norm(kind, 5).double()  # type: ignore[arg-type]
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    alpha, weight, bias = norm.alpha, norm.weight, norm.bias
    scaled = alpha * x
    core = {"dyt": torch.tanh(scaled), "dyl": scaled, "derf": torch.erf(scaled + getattr(norm, "shift", 0))}[kind]
    expected = weight * core + bias
    found = norm(x)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    probe = torch.randn_like(x)
    inputs = (x, alpha, weight, bias)
    for ours, theirs in zip(
        torch.autograd.grad((found * probe).sum(), inputs),
        torch.autograd.grad((expected * probe).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["dyt", "dyl", "derf"])
def test_a_norm_follows_what_it_can_be(kind: str) -> None:
    torch.manual_seed(0)
    truth, norm = build_norm(kind, 4).double(), build_norm(kind, 4).double()  # type: ignore[arg-type]
    nn.init.uniform_(truth.alpha, 0.4, 0.8)
    nn.init.normal_(truth.weight)
    nn.init.normal_(truth.bias)
    inputs = 2 * torch.randn(300, 4, dtype=torch.float64)
    fit = norm.follow(inputs, truth(inputs))
    assert fit.r2 > 1 - 1e-9
    torch.testing.assert_close(norm(inputs), truth(inputs), rtol=1e-4, atol=1e-4)


def test_layer_norm_is_torchs_with_the_epsilon_asked_for() -> None:
    norm = build_norm("layer_norm", 7, eps=1e-3)
    assert isinstance(norm, LayerNorm)
    assert norm.eps == 1e-3
    assert norm.normalized_shape == (7,)


def test_an_unknown_norm_is_refused() -> None:
    with pytest.raises(ModelError, match="layer_norm, dyt, dyl, derf; found 'batch_norm'"):
        build_norm("batch_norm", 4)  # type: ignore[arg-type]
