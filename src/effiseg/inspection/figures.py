"""The figures of an inspection: output against input at every place, and both R² of every norm."""

from __future__ import annotations

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from effiseg.inspection.results import InspectedNorm, NormInspection
from effiseg.inspection.verdict import KIND_TITLES, PLACE_TITLES, label
from effiseg.report.figures.style import GRID, INK, STYLE, new_figure
from effiseg.visualization.palettes import ROW_COLOURS

POINTS, LINE, TANH = ROW_COLOURS[0], ROW_COLOURS[1], INK
_WIDTH = 9.0
_CURVE_STEPS = 101


def scatter_figure(inspection: NormInspection) -> Figure:
    """Core output against input with both fits, a panel for each stage and place.

    Where a place has several blocks, the one is shown in which a tanh gains most over a line.
    """
    stages = sorted({norm.stage for norm in inspection.norms})
    with rc_context(STYLE):
        figure = new_figure(1.7 * len(stages) + 0.5, _WIDTH)
        grid = figure.subplots(len(stages), len(PLACE_TITLES), squeeze=False)
        for row, stage in zip(grid, stages, strict=True):
            for axes, place in zip(row, PLACE_TITLES, strict=True):
                norms = [norm for norm in inspection.norms if (norm.stage, norm.place) == (stage, place)]
                if norms:
                    _panel(axes, most_tanh_like(norms))
                else:
                    axes.set_axis_off()
                    axes.text(0.5, 0.5, f"stage {stage} has no\nreduction", ha="center", transform=axes.transAxes)
                if place == next(iter(PLACE_TITLES)):
                    axes.set_ylabel("output before γ, β", fontsize=7.5)
                if stage == stages[-1]:
                    axes.set_xlabel("input", fontsize=7.5)
        figure.legend(handles=_scatter_legend(), loc="outside lower center", ncols=3)
    return figure


def most_tanh_like(norms: list[InspectedNorm]) -> InspectedNorm:
    """The one whose shape a tanh describes better than a line by the most."""
    return max(norms, key=lambda norm: norm.shape.tanh_r2 - norm.shape.linear_r2)


def _panel(axes: Axes, norm: InspectedNorm) -> None:
    shape, x, y = norm.shape, np.array(norm.points.input), np.array(norm.points.core)
    axes.plot(x, y, "o", color=POINTS, markersize=1.6, markeredgewidth=0, alpha=0.6, gid=norm.name)
    steps = np.linspace(x[0], x[-1], _CURVE_STEPS)
    axes.plot(steps, shape.slope * steps + shape.intercept, "--", color=LINE, gid=f"{norm.name}/line")
    axes.plot(
        steps, shape.gamma * np.tanh(shape.alpha * steps) + shape.beta, color=TANH, linewidth=1.1,
        gid=f"{norm.name}/tanh",
    )  # fmt: skip
    room = 0.08 * max(float(np.ptp(y)), 1e-6)
    axes.set_ylim(float(y.min()) - room, float(y.max()) + room)
    axes.locator_params(nbins=4)
    axes.set_title(f"{label(norm)}\nline {shape.linear_r2:.3f}, tanh {shape.tanh_r2:.3f}", fontsize=7.5)
    axes.tick_params(labelsize=7)


def _scatter_legend() -> list[Line2D]:
    return [
        Line2D([], [], linestyle="", marker="o", color=POINTS, markersize=3, label="sampled elements"),
        Line2D([], [], linestyle="--", color=LINE, label="best line (and its R²)"),
        Line2D([], [], color=TANH, label="best tanh (and its R²)"),
    ]


def fits_figure(inspection: NormInspection) -> Figure:
    """R² of the best DyL and the best DyT of every norm, grouped by place, with what it may become."""
    norms = [norm for place in PLACE_TITLES for norm in inspection.norms if norm.place == place]
    heights = _heights(norms)
    with rc_context(STYLE):
        figure = new_figure(0.155 * heights[-1] + 1.3)
        axes = figure.subplots()
        dyl, dyt = ([getattr(norm.replacement, key) for norm in norms] for key in ("dyl_r2", "dyt_r2"))
        axes.hlines(heights, dyl, dyt, color=GRID, linewidth=2, zorder=1)
        axes.plot(dyl, heights, "s", color=LINE, label="best DyL", gid="dyl", zorder=2)
        axes.plot(dyt, heights, "o", color=TANH, markersize=3.5, label="best DyT", gid="dyt", zorder=3)
        follows = inspection.criteria["follows"]
        axes.axvline(follows, linestyle=":", color=TANH, linewidth=1, label=f"follows from {follows:g} on")
        axes.set_yticks(heights, [label(norm) for norm in norms], fontsize=7)
        axes.set_ylim(heights[-1] + 1, heights[0] - 1)
        axes.set_xlim(min([*dyl, *dyt, follows]) - 0.02, 1.01)
        axes.set_xlabel("R² of the replacement, within channels")
        axes.grid(axis="y", visible=False)
        for norm, height in zip(norms, heights, strict=True):
            axes.annotate(
                KIND_TITLES[norm.may_become], (1, height), (4, 0), axes.get_yaxis_transform(),
                textcoords="offset points", va="center", fontsize=7,
            )  # fmt: skip
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _heights(norms: list[InspectedNorm]) -> list[float]:
    """One line a norm, with a gap before each place."""
    heights: list[float] = []
    for index, norm in enumerate(norms):
        gap = 1.8 if index and norm.place != norms[index - 1].place else 1.0
        heights.append((heights[-1] if heights else 0.0) + gap)
    return heights
