"""The qualitative sheet: image, truth and every row's prediction with its errors, sample under sample."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from effiseg.report.figures.style import Gap, new_figure
from effiseg.report.samples import Reason, SampleIndex, SavedSample
from effiseg.report.study import Study
from effiseg.visualization.label_colours import UInt8Array, colour_map, error_map
from effiseg.visualization.palettes import Colour, hexadecimal

_CELL = 1.25
_MOST_SAMPLES = 4


def samples_figure(study: Study, reason: Reason, palette: Sequence[Colour]) -> Figure:
    """The samples chosen for one reason: a line of pictures and, under it, one of errors, for each sample.

    Raises:
        Gap: none were saved.
    """
    index = study.samples
    chosen = [] if index is None else [s for s in index.samples if reason in s.reasons][:_MOST_SAMPLES]
    if index is None or not chosen:
        raise Gap("no images and predictions were saved")
    rows = [row for row in index.rows if all(row in sample.predictions for sample in chosen)]
    height, width, _ = index.image(chosen[0]).shape
    columns = 2 + len(rows)
    cell = _CELL * height / width
    figure = new_figure(0.5 + 2 * len(chosen) * (cell + 0.04), columns * _CELL)
    axes = figure.subplots(2 * len(chosen), columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for line, sample in enumerate(chosen):
        _draw_sample(axes[2 * line], axes[2 * line + 1], study, index, sample, rows, palette)
        if line:
            for axis in axes[2 * line]:
                axis.set_title("")
    figure.legend(
        handles=[
            Patch(facecolor=hexadecimal(colour), label=name) for name, colour in zip(index.names, palette, strict=True)
        ],
        loc="outside lower center",
        ncols=min(len(index.names), columns),
    )
    return figure


def _draw_sample(
    above: Sequence[Axes],
    below: Sequence[Axes],
    study: Study,
    index: SampleIndex,
    sample: SavedSample,
    rows: Sequence[str],
    palette: Sequence[Colour],
) -> None:
    """One sample over two lines of axes: predictions above, errors below."""
    truth = index.truth(sample)
    _show(above[0], index.image(sample), "image")
    _show(above[1], colour_map(truth, palette), "truth")
    for axis, errors, row in zip(above[2:], below[2:], rows, strict=True):
        prediction = index.prediction(sample, row)
        _show(axis, colour_map(prediction, palette), study.label(row))
        iou = sample.iou.get(row)
        _show(errors, error_map(prediction, truth, len(index.names)), "")
        if iou is not None:
            errors.text(
                0.03, 0.05, f"{iou:.0f} %", transform=errors.transAxes, size=7,
                bbox={"facecolor": "#ffffff", "edgecolor": "none", "pad": 1.2}, color="#000000",
            )  # fmt: skip


def _show(axis: Axes, picture: UInt8Array, title: str) -> None:
    axis.imshow(picture, interpolation="nearest", aspect="auto")
    axis.set_title(title, fontsize=8)
