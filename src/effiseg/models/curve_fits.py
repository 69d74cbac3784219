"""Least-squares fits of a straight line and of a tanh (or an erf), for one group of points or for many that share α.

Given α, y = γ·tanh(αx) + β is linear in γ and β, which are then known in closed form (variable projection, Golub and
Pereyra 1973). So only α is searched: over a logarithmic grid, because the error may have several minima, then by
golden section between the best point's neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]

# α times the inputs' root mean square is searched from a tanh that is a straight line over all points to one that is
# a step between any two, also where a few inputs are far larger than all others.
_ALPHAS = np.logspace(-3, 4, 71)
_REFINEMENTS = 32  # of golden section: α to about seven digits
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Fit:
    """y = scale·f(x) + offset, with f the identity or a squashing of αx, and how well it describes the points."""

    scale: Floats
    """(G,) slope a, or γ, of each group."""
    offset: Floats
    """(G,) intercept b, or β, of each group."""
    alpha: float | None
    """α > 0, shared by all groups; None for a line."""
    squares: float
    """Sum of the squared residuals."""
    r2: float
    """1 - squares / (sum of squares around each group's mean), 0..1; 1 where the output does not vary."""
    residual: float
    """Root mean square of the residuals, in the unit of y."""


def fit_linear(x: Floats, y: Floats, groups: Groups | None = None) -> Fit:
    """The line y = a·x + b of each group.

    Args:
        x: (n,) inputs.
        y: (n,) outputs.
        groups: (n,) group of each point, from 0; None: all are one.
    """
    members = np.zeros(x.size, np.int64) if groups is None else groups
    return _result(x, y, members, None)


def fit_tanh(x: Floats, y: Floats, groups: Groups | None = None, function: Callable[[Floats], Floats] = np.tanh) -> Fit:
    """y = γ·tanh(αx) + β, with γ and β of each group and one α for all.

    α is positive: tanh is odd, so γ carries the sign. As α goes to 0 the curve becomes the line, so the fit is never
    worse than `fit_linear` by more than rounding.

    Args:
        x: (n,) inputs.
        y: (n,) outputs.
        groups: (n,) group of each point, from 0; None: all are one.
        function: tanh, or another odd function of its shape.
    """
    members = np.zeros(x.size, np.int64) if groups is None else groups
    spread = math.sqrt(float(np.mean(x * x))) or 1.0
    grid = np.log(_ALPHAS / spread)

    def error(log_alpha: float) -> float:
        return _regress(function(math.exp(log_alpha) * x), y, members)[2]

    best = int(np.argmin([error(float(point)) for point in grid]))
    low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, grid.size - 1)])
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    left_error, right_error = error(left), error(right)
    for _ in range(_REFINEMENTS):
        if left_error <= right_error:
            high, right, right_error = right, left, left_error
            left = high - _GOLDEN * (high - low)
            left_error = error(left)
        else:
            low, left, left_error = left, right, right_error
            right = low + _GOLDEN * (high - low)
            right_error = error(right)
    candidates = [float(grid[best]), (low + high) / 2]
    alpha = math.exp(min(candidates, key=error))
    return _result(function(alpha * x), y, members, alpha)


def _result(regressor: Floats, y: Floats, groups: Groups, alpha: float | None) -> Fit:
    scale, offset, squares = _regress(regressor, y, groups)
    deviation = y - _means(y, groups)[groups]
    total = float(deviation @ deviation)
    varies = total > 1e-20 * float(y @ y)  # below it is the rounding of the mean
    r2 = 1 - squares / total if varies else 1.0
    return Fit(scale, offset, alpha, squares, r2, math.sqrt(squares / y.size))


def _regress(regressor: Floats, y: Floats, groups: Groups) -> tuple[Floats, Floats, float]:
    """Scale and offset (G,) of y on the regressor within each group, and the sum of all squared residuals."""
    regressor_means, y_means = _means(regressor, groups), _means(y, groups)
    across, along = regressor - regressor_means[groups], y - y_means[groups]
    variance = np.bincount(groups, across * across)
    covariance = np.bincount(groups, across * along)
    scale = np.divide(covariance, variance, out=np.zeros_like(variance), where=variance > 0)
    residuals = along - scale[groups] * across
    return scale, y_means - scale * regressor_means, float(residuals @ residuals)


def _means(values: Floats, groups: Groups) -> Floats:
    """(G,) mean of each group; 0 of a group without members."""
    means: Floats = np.bincount(groups, values) / np.maximum(np.bincount(groups), 1)
    return means
