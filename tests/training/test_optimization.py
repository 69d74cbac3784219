"""Parameter groups by number of dimensions; the learning rate of every step."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from effiseg.config.training import OptimizerConfig
from effiseg.models.normalization import DynamicLinear, DynamicTanh
from effiseg.models.segformer import SegFormer
from effiseg.training.optimization import build_optimizer, learning_rate, parameter_groups, set_learning_rate

CONFIG = OptimizerConfig(lr=0.1, warmup_ratio=0.2, power=2.0)


def decays(modules: list[nn.Module]) -> dict[str, bool]:
    """Name → whether it decays, of every trained parameter."""
    decaying, others = parameter_groups(modules, 0.5)
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.5, 0.0)
    names = {id(p): name for module in modules for name, p in module.named_parameters()}
    members = {True: decaying["params"], False: others["params"]}
    return {names[id(p)]: flag for flag, params in members.items() for p in params}  # type: ignore[attr-defined]


@pytest.mark.parametrize("norm", ["layer_norm", "dyt", "dyl", "derf"])
def test_matrices_and_kernels_decay_and_nothing_else(norm: str) -> None:
    model = SegFormer("b0", 3, norm, norm)  # type: ignore[arg-type]
    decaying = decays([model])
    assert decaying.keys() == dict(model.named_parameters()).keys()
    for name, module in model.named_modules():
        for own, parameter in module.named_parameters(recurse=False):
            expected = own == "weight" and isinstance(module, nn.Linear | nn.Conv2d)
            assert decaying[f"{name}.{own}"] == expected, f"{name}.{own} {tuple(parameter.shape)}"


def test_alpha_does_not_decay() -> None:
    for norm, shape in ((DynamicTanh(8), (1,)), (DynamicLinear(8), (8,))):
        assert dict(norm.named_parameters())["alpha"].shape == shape
        assert decays([norm]) == {"alpha": False, "weight": False, "bias": False}


def test_frozen_parameters_are_left_out_and_several_modules_joined() -> None:
    frozen, trained = nn.Linear(2, 2), nn.Linear(3, 3)
    frozen.requires_grad_(False)
    groups = parameter_groups([frozen, trained], 0.1)
    assert [[tuple(p.shape) for p in group["params"]] for group in groups] == [[(3, 3)], [(3,)]]  # type: ignore[attr-defined]


def test_the_head_and_everything_new_can_have_a_rate_of_their_own() -> None:
    model, projection = SegFormer("b0", 3), nn.Linear(2, 2)
    optimizer = build_optimizer([model, projection], replace(CONFIG, head_lr_ratio=10.0))
    set_learning_rate(optimizer, 0.5)
    names = {id(p): name for module in (model, projection) for name, p in module.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates.keys() == set(names.values())
    assert all(rate == (0.5 if name.startswith("encoder.") else 5.0) for name, rate in rates.items())
    decaying = {names[id(p)] for g in optimizer.param_groups if g["weight_decay"] for p in g["params"]}
    assert decaying == {name for name, flag in decays([model, projection]).items() if flag}


@pytest.mark.parametrize("fused", [True, False])
def test_optimizer_has_the_settings(fused: bool) -> None:
    layer = nn.Linear(2, 2)
    config = OptimizerConfig(lr=0.3, betas=[0.8, 0.95], eps=1e-5, weight_decay=0.02)
    optimizer = build_optimizer([layer], config, fused=fused)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.02, 0.0]
    for group in optimizer.param_groups:
        assert (group["lr"], group["betas"], group["eps"]) == (0.3, (0.8, 0.95), 1e-5)
    layer(torch.ones(1, 2)).sum().backward()
    before = layer.weight.detach().clone()
    optimizer.step()
    assert not torch.equal(before, layer.weight)


def test_warm_up_rises_linearly_from_zero_to_the_peak() -> None:
    assert [learning_rate(step, 20, CONFIG) for step in range(4)] == pytest.approx([0.025, 0.05, 0.075, 0.1])


def test_decay_is_polynomial_and_the_last_step_still_learns() -> None:
    # After 4 of 20 steps of warm-up 16 steps are left: step 4 is at the peak, step 12 half way.
    assert learning_rate(4, 20, CONFIG) == pytest.approx(0.1)
    assert learning_rate(12, 20, CONFIG) == pytest.approx(0.1 * 0.5**2)
    assert learning_rate(19, 20, CONFIG) == pytest.approx(0.1 / 16**2)
    assert learning_rate(20, 20, CONFIG) == 0


@pytest.mark.parametrize(("steps", "ratio"), [(1, 0.05), (1, 0.0), (3, 0.0), (2, 0.5), (2, 1.0), (7, 1.0)])
def test_short_runs_have_a_positive_rate_at_every_step(steps: int, ratio: float) -> None:
    config = replace(CONFIG, warmup_ratio=ratio)
    assert all(0 < learning_rate(step, steps, config) <= 0.1 for step in range(steps))
