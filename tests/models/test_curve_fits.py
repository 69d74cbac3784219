"""The two fits recover what made the points."""

from __future__ import annotations

import numpy as np
import pytest

from effiseg.models.curve_fits import fit_linear, fit_tanh


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(0.3, 2.0, 4000)


@pytest.mark.parametrize(("alpha", "gamma", "beta"), [(0.5, 1.0, 0.0), (0.07, -3.0, 2.0), (4.0, 0.2, -1.0)])
def test_a_tanh_is_recovered(x: np.ndarray, alpha: float, gamma: float, beta: float) -> None:
    fit = fit_tanh(x, gamma * np.tanh(alpha * x) + beta)
    assert fit.alpha == pytest.approx(alpha, rel=1e-5)
    assert fit.scale[0] == pytest.approx(gamma, rel=1e-5)
    assert fit.offset[0] == pytest.approx(beta, abs=1e-5)
    assert fit.r2 == pytest.approx(1, abs=1e-9)


def test_r2_is_the_share_that_is_not_noise(x: np.ndarray) -> None:
    clean = 2 * np.tanh(0.6 * x) + 1
    noise = np.random.default_rng(1).normal(0, 0.5, x.size)
    fit = fit_tanh(x, clean + noise)
    assert fit.alpha == pytest.approx(0.6, rel=0.1)
    assert fit.r2 == pytest.approx(clean.var() / (clean.var() + 0.25), abs=0.02)
    assert fit.residual == pytest.approx(0.5, rel=0.05)
    assert fit.squares == pytest.approx(x.size * fit.residual**2)


def test_a_line_is_the_textbooks(x: np.ndarray) -> None:
    y = 3 * x - 2 + np.random.default_rng(2).normal(0, 1, x.size)
    fit = fit_linear(x, y)
    slope, offset = np.polyfit(x, y, 1)
    assert (fit.scale[0], fit.offset[0]) == pytest.approx((slope, offset))
    assert fit.r2 == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)
    assert fit.alpha is None


def test_a_tanh_becomes_a_line(x: np.ndarray) -> None:
    fit = fit_tanh(x, 3 * x - 2)
    assert fit.r2 == pytest.approx(1, abs=1e-5)
    assert fit.alpha is not None
    assert fit.alpha * fit.scale[0] == pytest.approx(3, rel=1e-4)


def test_groups_share_alpha_alone(x: np.ndarray) -> None:
    groups = np.arange(x.size) % 5
    gamma, beta = np.array([1.0, -2, 0.5, 4, 3]), np.array([0.0, 10, -10, 3, 1])
    y = gamma[groups] * np.tanh(0.4 * x) + beta[groups]
    fit = fit_tanh(x, y, groups)
    assert fit.alpha == pytest.approx(0.4, rel=1e-5)
    assert fit.scale == pytest.approx(gamma, rel=1e-5)
    assert fit.offset == pytest.approx(beta, abs=1e-4)
    # Without the groups the offsets of the channels pass for what the input explains nothing of.
    assert fit_tanh(x, y).r2 < 0.5
    line = fit_linear(x, y, groups)
    for group in range(5):
        slope, offset = np.polyfit(x[groups == group], y[groups == group], 1)
        assert (line.scale[group], line.offset[group]) == pytest.approx((slope, offset))


def test_offsets_of_groups_explain_nothing() -> None:
    generator = np.random.default_rng(3)
    groups = np.arange(3000) % 3
    fit = fit_linear(generator.normal(size=3000), 100.0 * groups + generator.normal(size=3000), groups)
    assert fit.r2 < 0.02


@pytest.mark.parametrize("depth", [2.5, 3.0])
def test_an_error_with_two_minima_is_searched_whole(depth: float) -> None:
    """A step among many small inputs against a slow bend among a few large ones: the better minimum is taken."""
    x = np.concatenate([np.linspace(-1, 1, 400), np.linspace(-100, 100, 100)])
    y = np.tanh(8 * x) - depth * np.tanh(0.03 * x)
    errors = np.array([
        np.linalg.lstsq(np.stack([np.tanh(alpha * x), np.ones_like(x)], 1), y, rcond=None)[1][0]
        for alpha in np.logspace(-4, 3, 200)
    ])  # fmt: skip
    assert ((errors[1:-1] < errors[:-2]) & (errors[1:-1] < errors[2:])).sum() == 2
    assert fit_tanh(x, y).squares <= errors.min()


def test_a_few_huge_inputs_do_not_hide_the_bend() -> None:
    x = np.append(np.random.default_rng(4).normal(size=5000), [1e4, -1e4])
    fit = fit_tanh(x, np.tanh(2 * x))
    assert fit.alpha == pytest.approx(2, rel=1e-5)


@pytest.mark.parametrize("fit", [fit_linear, fit_tanh])
def test_what_does_not_vary(fit: object) -> None:
    assert callable(fit)
    constant = fit(np.arange(10.0), np.full(10, 0.1))
    assert (constant.r2, constant.residual) == (1, pytest.approx(0, abs=1e-12))
    blind = fit(np.zeros(10), np.arange(10.0))
    assert blind.r2 == pytest.approx(0)
    assert np.isfinite(blind.scale).all()
    missing = fit(np.arange(10.0), np.arange(10.0), np.array([0, 2] * 5))
    assert missing.r2 == pytest.approx(1, abs=1e-5)
    assert np.isfinite(missing.offset).all()
