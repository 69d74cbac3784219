"""Curves of training whose values show under the pointer; the page draws them with uPlot, from these numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from effiseg.report.figures.curves import seed_band
from effiseg.report.figures.style import row_styles
from effiseg.report.study import Study

# Column of metrics.csv, heading, what the axis says, whether it is logarithmic.
_CURVES = (
    ("val_miou", "mIoU on val", "percent", False),
    ("loss", "Training loss", "mean over the epoch", True),
    ("lr", "Learning rate", "at the end of the epoch", False),
    ("images_per_second", "Images a second", "while training", False),
)
_SHARES = ("data_share", "forward_share", "backward_share", "optimizer_share", "other_share")
_SHARE_COLORS = ("#c23b22", "#1e6996", "#3f8f4f", "#b58900", "#8a8f98")


@dataclass(frozen=True)
class Line:
    """One curve."""

    label: str
    """Its name in the legend."""
    color: str
    """#rrggbb."""
    values: list[float | None]
    """One value an epoch of the chart; None where there is none."""


@dataclass(frozen=True)
class Chart:
    """Curves over the epochs."""

    name: str
    """Its anchor."""
    title: str
    """Its heading."""
    unit: str
    """What its axis says."""
    logarithmic: bool
    """Whether its axis is."""
    epochs: list[float]
    """Where there are values, ascending."""
    lines: list[Line] = field(default_factory=list)
    """The curves."""

    def as_json(self) -> str:
        """What the page's script reads."""
        lines = [{"label": line.label, "color": line.color, "values": line.values} for line in self.lines]
        value = {"title": self.title, "unit": self.unit, "log": self.logarithmic, "x": self.epochs, "lines": lines}
        return json.dumps(value, ensure_ascii=False, allow_nan=False)


def training_charts(study: Study) -> list[Chart]:
    """Score, loss, learning rate and speed of every row, and where a single run's time goes.

    What has no value is left out; of several seeds a curve is the mean.
    """
    charts = [_rows_chart(study, column, title, unit, log) for column, title, unit, log in _CURVES]
    if study.single:
        charts.append(_shares_chart(study))
    return [chart for chart in charts if chart.lines]


def _rows_chart(study: Study, column: str, title: str, unit: str, logarithmic: bool) -> Chart:
    found = {}
    for name, style in row_styles(study).items():
        epochs, middle, _, _ = seed_band(study.histories.get(name, []), column)
        if len(epochs):
            found[name] = (style.colour, dict(zip(epochs.tolist(), middle.tolist(), strict=True)))
    every = sorted({epoch for _, points in found.values() for epoch in points})
    lines = [
        Line(study.label(name), color, [points.get(epoch) for epoch in every])
        for name, (color, points) in found.items()
    ]
    positive = all(value > 0 for _, points in found.values() for value in points.values())
    return Chart(f"chart-{column.replace('_', '-')}", title, unit, logarithmic and positive, every, lines)


def _shares_chart(study: Study) -> Chart:
    histories = next(iter(study.histories.values()), [])
    bands = {column: seed_band(histories, column) for column in _SHARES}
    every = sorted({float(epoch) for band in bands.values() for epoch in band[0]})
    lines = []
    for column, color in zip(_SHARES, _SHARE_COLORS, strict=True):
        points = dict(zip(bands[column][0].tolist(), (100 * bands[column][1]).tolist(), strict=True))
        if points:
            lines.append(Line(column.removesuffix("_share"), color, [points.get(epoch) for epoch in every]))
    return Chart("chart-time", "Where the time goes", "percent of the training time", False, every, lines)
