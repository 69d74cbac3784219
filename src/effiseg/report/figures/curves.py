"""Training curves (figures 4 and 5 of the paper): losses of all rows, the terms of each, val mIoU."""

from __future__ import annotations

import math
import re

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from effiseg.report.figures.style import INK, WIDTH, Gap, RowStyle, new_figure, place_legend, row_styles
from effiseg.report.study import History, Study
from effiseg.visualization.palettes import ROW_COLOURS

_LOGARITHMIC_FROM = 5.0
_DECADES_WITH_STEPS = 2.0
_NOT_TERMS = re.compile(r"epoch|step|lr|norm_gate|images_per_second|val_.*|.*_share")  # the shares are of time


def loss_figure(study: Study) -> Figure:
    """The whole training loss of every row, logarithmic.

    Raises:
        Gap: no run has finished an epoch.
    """
    figure = _curves(study, "loss", "training loss")
    _logarithmic(figure.axes[0])
    return figure


def miou_figure(study: Study) -> Figure:
    """mIoU on val of every row, at the epochs that were evaluated.

    Raises:
        Gap: no run was evaluated yet.
    """
    return _curves(study, "val_miou", "val mIoU (%)")


def terms_figure(study: Study) -> Figure:
    """Every term of every row's loss, one panel a row, logarithmic.

    Raises:
        Gap: no run has finished an epoch.
    """
    rows = [name for name in study.order if name in study.histories]
    terms = loss_terms([history for name in rows for history in study.histories[name]])
    if not rows:
        raise Gap("no run has finished an epoch")
    columns = min(2, len(rows))
    lines = math.ceil(len(rows) / columns)
    figure = new_figure(0.7 + 1.55 * lines, WIDTH)
    panels = figure.subplots(lines, columns, sharex=True, squeeze=False)
    colours = {term: INK if term == "loss" else ROW_COLOURS[i % len(ROW_COLOURS)] for i, term in enumerate(terms, -1)}
    for panel, name in zip(panels.flat, rows, strict=False):
        panel.set_title(study.label(name), loc="left")
        for term in terms:
            epochs, middle, _, _ = seed_band(study.histories[name], term)
            if len(epochs):
                panel.plot(epochs, middle, color=colours[term], label=term, gid=f"{name}/{term}")
        _logarithmic(panel)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.tick_params(labelbottom=True)
    for panel in list(panels.flat)[len(rows) :]:
        panel.set_visible(False)
    for panel in panels[-1]:
        panel.set_xlabel("epoch")
    handles = {
        label: handle for panel in panels.flat for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    shown = [term for term in terms if term in handles]
    names = [term.replace("_", " ") for term in shown]
    figure.legend([handles[term] for term in shown], names, loc="outside lower center", ncols=min(4, len(shown)))
    return figure


def loss_terms(histories: list[History]) -> list[str]:
    """Names of the loss and its terms, in the order of metrics.csv."""
    names = dict.fromkeys(name for history in histories for name in history)
    return [name for name in names if not _NOT_TERMS.fullmatch(name)]


def seed_band(histories: list[History], column: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Epochs that have a value, and the mean, least and largest value over the seeds that have it there."""
    values: dict[float, list[float]] = {}
    for history in histories:
        for epoch, value in zip(history["epoch"], history.get(column, []), strict=False):
            if epoch is not None and value is not None:
                values.setdefault(epoch, []).append(value)
    epochs = sorted(values)
    found = [values[epoch] for epoch in epochs]
    return (
        np.array(epochs),
        np.array([math.fsum(group) / len(group) for group in found]),
        np.array([min(group) for group in found]),
        np.array([max(group) for group in found]),
    )


def _curves(study: Study, column: str, label: str) -> Figure:
    figure = new_figure(3.6)
    axes = figure.subplots()
    for name, style in row_styles(study).items():
        _draw_row(axes, study, name, style, column)
    if not axes.lines:
        raise Gap("no run has finished an epoch" if column == "loss" else "no run was evaluated on val yet")
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    place_legend(figure, axes)
    return figure


def _draw_row(axes: Axes, study: Study, name: str, style: RowStyle, column: str) -> None:
    epochs, middle, low, high = seed_band(study.histories.get(name, []), column)
    if not len(epochs):
        return
    few = len(epochs) <= 30
    axes.plot(
        epochs, middle, style.dashes, color=style.colour, marker=style.marker if few else "", markersize=3.5,
        label=study.label(name), gid=name,
    )  # fmt: skip
    if len(study.histories[name]) > 1:
        axes.fill_between(epochs, low, high, color=style.colour, alpha=0.15, linewidth=0)


def _logarithmic(axes: Axes) -> None:
    """A logarithmic axis with plain numbers; a linear one where the range is small or something is not positive."""
    values = [value for line in axes.lines for value in np.asarray(line.get_ydata(), float)]
    if not values or min(values) <= 0 or max(values) < _LOGARITHMIC_FROM * min(values):
        return
    axes.set_yscale("log")
    decades = math.log10(max(values) / min(values))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades <= _DECADES_WITH_STEPS else (1,), numticks=8))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
