"""How unevenly the classes are spread over the pixels, and the weight each gets (figure 3 and table 1 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from effiseg.report.figures.style import Gap, new_figure
from effiseg.report.study import Study
from effiseg.visualization.palettes import ROW_COLOURS

_BAR = ROW_COLOURS[0]
_DOT = ROW_COLOURS[1]


def class_distribution_figure(study: Study) -> Figure:
    """Share of the labeled training pixels of every class on a log scale, and its weight in the loss.

    Raises:
        Gap: no run has counted its classes yet.
    """
    shares, weights = study.result.class_shares, study.result.class_weights
    if not shares:
        raise Gap("no run has counted the pixels of its classes")
    names = sorted(shares, key=lambda name: -shares[name])
    figure = new_figure(0.9 + 0.24 * len(names))
    axes, beside = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    places = np.arange(len(names))[::-1]
    share_axis(axes, study, names, places)
    axes.set_yticks(places, names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    values = [weights.get(name, np.nan) for name in names]
    beside.hlines(places, 0, values, color=_DOT, linewidth=1, alpha=0.5)
    beside.plot(values, places, "o", color=_DOT, gid="weights")
    beside.set_xlabel("weight in the loss")
    beside.set_xlim(left=0)
    beside.tick_params(left=False)
    return figure


def share_axis(axes: Axes, study: Study, names: Sequence[str], places: np.ndarray) -> None:
    """Bars of the classes' pixel shares on a log scale."""
    percents = [100 * study.result.class_shares.get(name, 0.0) for name in names]
    axes.barh(places, percents, height=0.6, color=_BAR)
    axes.set_xlabel("pixels (%)")
    positive = [value for value in percents if value > 0]
    if positive:
        axes.set_xscale("log")
        axes.set_xlim(10 ** np.floor(np.log10(min(positive)) - 0.01), 100)
        axes.xaxis.set_major_locator(LogLocator(numticks=5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(left=False)
    axes.grid(axis="y", visible=False)
