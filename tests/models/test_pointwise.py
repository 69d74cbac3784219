"""Convolutions and matrix products in place of each other: the same values, gradients and memory layout."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from effiseg.models import pointwise as module
from effiseg.models.pointwise import PointwiseLinear, pointwise


def outcome(layer: PointwiseLinear, tokens: Tensor) -> tuple[Tensor, ...]:
    tokens = tokens.clone().requires_grad_()
    result = layer(tokens)
    result.square().sum().backward()
    return result.detach(), tokens.grad, layer.weight.grad, layer.bias.grad


@pytest.mark.parametrize("shape", [(2, 35, 32, 48), (1, 1, 3, 5), (3, 64, 8, 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tokens_meet_the_matrix_of_a_linear_layer(
    shape: tuple[int, int, int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, count, inputs, outputs = shape
    torch.manual_seed(0)
    layer = PointwiseLinear(inputs, outputs).to(dtype)
    tokens = torch.randn(batch, count, inputs, dtype=dtype)
    assert module._prefers_convolution(tokens) == (dtype == torch.float32)
    found = outcome(layer, tokens)
    layer.zero_grad()
    monkeypatch.setattr(module, "_prefers_convolution", lambda x: False)
    expected = outcome(layer, tokens)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


def test_tokens_stay_in_the_order_that_maps_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """No copy is needed to see the result as a channels_last map."""
    result = PointwiseLinear(32, 64)(torch.randn(2, 35, 32))
    assert result.is_contiguous()
    assert PointwiseLinear(32, 64)(torch.randn(1, 35, 32)).is_contiguous()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("preferred", [False, True])
def test_maps_meet_the_matrix_of_a_convolution(bias: bool, preferred: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_prefers_convolution", lambda x: preferred)
    torch.manual_seed(0)
    feature_map = torch.randn(2, 8, 5, 7, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(6, 8, dtype=torch.float64)
    shift = torch.randn(6, dtype=torch.float64) if bias else None
    expected = F.conv2d(feature_map.contiguous(), weight[:, :, None, None], shift)
    found = pointwise(feature_map, weight, shift)
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_mixed_precision_keeps_the_product() -> None:
    tokens = torch.randn(1, 4, 8)
    assert module._prefers_convolution(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        assert not module._prefers_convolution(tokens)
    assert not module._prefers_convolution(tokens.bfloat16())
    assert not module._prefers_convolution(torch.empty(1, 4, 8, device="meta"))
