"""Differences to the baseline with their intervals."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from effiseg.metrics.bootstrap import PairedDifference
from effiseg.report.figures.style import INK, Gap, new_figure, row_styles
from effiseg.report.noise import between
from effiseg.report.study import Study


def paired_figure(study: Study, differences: list[PairedDifference]) -> Figure:
    """ΔmIoU of every row against the baseline with the 95 % interval of a bootstrap over images.

    Raises:
        Gap: no pair has the baseline in it.
    """
    pairs = against_baseline(study, differences)
    if not pairs:
        raise Gap("no row can be paired with the baseline")
    figure = new_figure(0.8 + 0.3 * len(pairs))
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=0.8)
    styles = row_styles(study)
    places = np.arange(len(pairs))[::-1]
    for place, pair in zip(places, pairs, strict=True):
        style = styles[pair.first]
        axes.plot([pair.low, pair.high], [place, place], color=style.colour, linewidth=2, gid=f"{pair.first}/interval")
        axes.plot([pair.delta], [place], marker=style.marker, color=style.colour, markersize=6, gid=pair.first)
    axes.set_yticks(places, [study.label(pair.first) for pair in pairs])
    axes.set_ylim(-0.6, len(pairs) - 0.4)
    axes.set_xlabel(f"ΔmIoU to {study.label(pairs[0].second)} (points), 95 % interval over images")
    axes.tick_params(left=False)
    return figure


def against_baseline(study: Study, differences: list[PairedDifference]) -> list[PairedDifference]:
    """The pairs with the baseline in them, all of them as the other row minus the baseline."""
    name = study.baseline.name if study.baseline is not None else ""
    others = [
        pair.first if pair.second == name else pair.second for pair in differences if name in (pair.first, pair.second)
    ]
    return [pair for other in others if (pair := between(differences, other, name)) is not None]
