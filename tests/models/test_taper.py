"""A tapered norm is LayerNorm at one end, plain DyL or DyT at the other, and a blend between."""

from __future__ import annotations

import copy
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effiseg.models.mix_transformer import MixTransformer
from effiseg.models.normalization import DynamicLinear, DynamicNorm, DynamicTanh
from effiseg.models.shape import SHAPES
from effiseg.models.taper import TaperedNorm, gate, plain_norms, taper_norms, tapered_norms

C = 6
CASES = list(product((DynamicLinear, DynamicTanh), (False, True)))
every_case = pytest.mark.parametrize(("kind", "centered"), CASES)


def make_norm(kind: type[DynamicTanh | DynamicLinear], centered: bool, momentum: float = 0.5) -> TaperedNorm:
    torch.manual_seed(0)
    final = kind(C)
    final.centered = centered
    norm = TaperedNorm(final, 1e-5, momentum)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias)
    return norm.double()


def tokens(seed: int = 1) -> Tensor:
    return 3 * torch.randn(2, 5, C, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.7


def measured(norm: TaperedNorm) -> TaperedNorm:
    """The norm after two passes."""
    norm.train()
    for seed in (1, 2):
        norm(tokens(seed))
    return norm


@every_case
def test_at_first_it_is_the_layer_norm_bit_for_bit(kind: type[DynamicTanh], centered: bool) -> None:
    norm, x = make_norm(kind, centered), tokens().requires_grad_()
    found, expected = norm(x), F.layer_norm(x, (C,), norm.weight, norm.bias, 1e-5)
    assert torch.equal(found, expected)
    inputs = (x, norm.weight, norm.bias)
    for ours, theirs in zip(
        torch.autograd.grad(found.square().sum(), inputs), torch.autograd.grad(expected.square().sum(), inputs),
        strict=True,
    ):  # fmt: skip
        assert torch.equal(ours, theirs)


@every_case
def test_at_last_it_is_the_plain_norm_bit_for_bit(kind: type[DynamicTanh], centered: bool) -> None:
    norm = measured(make_norm(kind, centered))
    norm.set_gate(0.0)
    plain = norm.plain()
    assert type(plain) is kind
    assert plain.centered == centered
    assert torch.equal(plain(tokens(3)), norm(tokens(3)))


@every_case
def test_between_it_is_the_blend_of_both_ends(kind: type[DynamicTanh], centered: bool) -> None:
    norm = measured(make_norm(kind, centered)).eval()
    ends = []
    for g in (1.0, 0.0, 0.25):
        norm.set_gate(g)
        ends.append(norm(tokens(3)))
    held, final, blended = ends
    assert (held - final).abs().max() > 0.1
    torch.testing.assert_close(blended, 0.25 * held + 0.75 * final, rtol=1e-12, atol=1e-12)


@every_case
def test_the_gradient_while_measuring_is_that_of_the_blend(kind: type[DynamicTanh], centered: bool) -> None:
    norm, x = measured(make_norm(kind, centered)), tokens(3).requires_grad_()
    norm.set_gate(0.25)
    weight = torch.randn(2, 5, C, dtype=torch.float64)
    (still,) = torch.autograd.grad((norm.eval()(x) * weight).sum(), x)
    (measuring,) = torch.autograd.grad((norm.train()(x) * weight).sum(), x)
    assert torch.equal(measuring, still)


def test_the_formula_by_hand() -> None:
    x = tokens()
    deviation = (x.var(-1, correction=0) + 1e-5).sqrt()
    r, m = (1 / deviation).mean(), x.mean()
    for centered in (False, True):
        norm = make_norm(DynamicLinear, centered)
        norm(x)
        norm.set_gate(0.0)
        shifted = x - x.mean(-1, keepdim=True) if centered else x - m
        torch.testing.assert_close(norm(x), norm.weight * r * shifted + norm.bias, rtol=1e-12, atol=1e-12)
        norm = make_norm(DynamicTanh, centered)
        norm(x)
        norm.set_gate(0.0)
        shifted = x - x.mean(-1, keepdim=True) if centered else x
        expected = norm.weight * torch.tanh(0.5 * r * shifted) / 0.5 + norm.bias
        torch.testing.assert_close(norm(x), expected, rtol=1e-12, atol=1e-12)


def test_where_all_tokens_have_one_length_nothing_changes_on_the_way() -> None:
    norm, x = make_norm(DynamicLinear, centered=True), tokens()
    x = F.layer_norm(x, (C,), eps=0) * 4 + torch.randn(2, 5, 1, dtype=torch.float64)
    held = norm(x)
    for g in (0.6, 0.0):
        norm.set_gate(g)
        torch.testing.assert_close(norm(x), held, rtol=1e-7, atol=1e-7)


def test_it_measures_in_training_alone_and_until_the_gate_is_shut() -> None:
    norm = measured(make_norm(DynamicLinear, centered=False))
    torch.testing.assert_close(norm.mean, (tokens(1).mean() + tokens(2).mean()) / 2)  # a plain mean at first
    kept = copy.deepcopy(norm.statistics)
    norm.eval()(tokens(3))
    norm.train().set_gate(0.0)
    norm(tokens(3))
    assert all(torch.equal(value, old) for value, old in zip(norm.statistics, kept, strict=True))
    norm.set_gate(0.5)
    norm(tokens(3))
    torch.testing.assert_close(norm.mean, 0.5 * kept[1] + 0.5 * tokens(3).mean())


def test_checkpoints_hold_what_was_measured_and_not_the_gate() -> None:
    norm = measured(make_norm(DynamicLinear, centered=False))
    assert set(norm.state_dict()) == {"weight", "bias", "inverse_deviation", "mean", "passes"}


def test_the_gate_holds_falls_as_a_cosine_and_stays_shut() -> None:
    values = [gate(step, 100, 0.2, 0.6) for step in range(101)]
    assert values[:21] == [1.0] * 21
    assert values[60:] == [0.0] * 41
    assert values[40] == pytest.approx(0.5)
    assert values[30] == pytest.approx((1 + 0.5**0.5) / 2)
    assert values == sorted(values, reverse=True)
    assert gate(0, 10, 0.0, 1.0) == 1.0
    assert gate(10, 10, 0.0, 1.0) == 0.0


@pytest.mark.parametrize(("patch", "block", "count"), [(True, False, 4), (False, True, 26), (True, True, 30)])
def test_norms_are_put_in_and_taken_out(patch: bool, block: bool, count: int) -> None:
    encoder = MixTransformer(SHAPES["b0"], "dyt", "dyl")
    state = torch.get_rng_state()
    taper_norms(encoder, patch=patch, block=block, eps=1e-5, momentum=0.1)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(tapered_norms(encoder)) == count
    plain_norms(encoder)
    assert tapered_norms(encoder) == []
    kinds = [type(module) for module in encoder.modules() if isinstance(module, DynamicNorm)]
    assert (kinds.count(DynamicTanh), kinds.count(DynamicLinear)) == (4, 26)
