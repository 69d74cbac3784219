"""The confusion matrix of a row, normalized by the truth."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from numpy.typing import NDArray

from effiseg.report.figures.style import INK, SURFACE, WIDTH, Gap, new_figure
from effiseg.report.study import Study
from effiseg.results import AblationRow
from effiseg.visualization.palettes import ROW_COLOURS

_HUE = ROW_COLOURS[0]
# From nothing to the full colour, so that the same cells stand on a white page and on a dark one.
_SCALE = LinearSegmentedColormap.from_list("share", [to_rgba(_HUE, 0.0), to_rgba(_HUE, 1.0)])
_MOST_NUMBERS = 24
_WHITE_FROM = 60.0


def confusion_figure(study: Study, row: AblationRow) -> Figure:
    """Of the pixels of each class (line), how many percent were taken for which (column).

    Raises:
        Gap: the row has no confusion matrix.
    """
    names = study.names
    shares = confusion_percent(row)
    if not len(shares) or len(names) != len(shares):
        raise Gap(f"{study.label(row.name)} has no confusion matrix")
    columns = [*names, "no class"][: shares.shape[1]]
    figure = new_figure(min(1.1 + 0.34 * len(names), 6.6), WIDTH)
    axes = figure.subplots()
    axes.pcolormesh(
        np.nan_to_num(shares), cmap=_SCALE, vmin=0, vmax=100, edgecolors=SURFACE, linewidth=0.5, gid="confusion"
    )
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=90)
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    axes.tick_params(length=0)
    axes.set_xlabel("prediction")
    axes.set_ylabel("truth")
    if len(names) <= _MOST_NUMBERS:
        size = min(7.0, 105 / len(columns))
        for (line, column), value in np.ndenumerate(shares):
            if value >= 0.5:
                colour = "#ffffff" if value >= _WHITE_FROM else INK
                axes.text(column + 0.5, line + 0.5, f"{value:.0f}", ha="center", va="center", size=size, color=colour)
    return figure


def confusion_percent(row: AblationRow) -> NDArray[np.float64]:
    """(K, K) or, where a prediction was no class, (K, K+1) percent; nan where the truth has no pixel of the class."""
    counts = np.array(row.confusion, np.float64)
    if counts.ndim != 2:
        return np.zeros((0, 0))
    if counts.shape[1] > counts.shape[0] and not counts[:, -1].any():
        counts = counts[:, :-1]
    total = counts.sum(1, keepdims=True)
    percent: NDArray[np.float64] = np.divide(100 * counts, total, out=np.full_like(counts, np.nan), where=total > 0)
    return percent
