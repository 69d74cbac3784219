"""IoU per class: the radar over all rows (figure 6 of the paper) and the differences to the baseline, sorted."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes

from effiseg.report.figures.class_distribution import share_axis
from effiseg.report.figures.style import INK, WIDTH, Gap, new_figure, place_legend, row_styles
from effiseg.report.row_titles import is_teacher
from effiseg.report.study import Study

_FEWEST_SPOKES = 3


def radar_figure(study: Study) -> Figure:
    """IoU of every class under every row, one spoke a class; classes without IoU are left out.

    Raises:
        Gap: there are no rows, or fewer than three classes.
    """
    names = [name for name in study.names if all(row.class_iou.get(name) is not None for row in study.rows)]
    if not study.rows or len(names) < _FEWEST_SPOKES:
        raise Gap("a radar needs a finished row and three classes that every row has an IoU for")
    figure = new_figure(WIDTH * 1.02)
    axes = figure.add_subplot(projection="polar")
    assert isinstance(axes, PolarAxes)
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    angles = np.linspace(0, 2 * math.pi, len(names), endpoint=False)
    highest = 0.0
    for row in study.rows:
        style = row_styles(study)[row.name]
        values = np.array([row.class_iou[name] for name in names], float)
        highest = max(highest, float(values.max()))
        axes.plot(
            np.append(angles, angles[0]), np.append(values, values[0]), style.dashes, color=style.colour,
            marker=style.marker, markersize=3, linewidth=1.2, label=study.label(row.name), gid=row.name,
        )  # fmt: skip
    axes.set_ylim(0, min(100, 10 * math.ceil(highest / 10)) or 10)
    axes.set_rlabel_position(180 / len(names))
    axes.spines["polar"].set_visible(False)
    axes.set_xticks(angles, [""] * len(names))
    for angle, name in zip(angles, names, strict=True):
        side = math.sin(angle)
        axes.annotate(
            name, (angle, axes.get_ylim()[1]), (8 * side, 8 * math.cos(angle)), textcoords="offset points",
            ha="center" if abs(side) < 0.1 else "left" if side > 0 else "right", va="center", annotation_clip=False,
        )  # fmt: skip
    place_legend(figure, axes)
    return figure


def delta_figure(study: Study) -> Figure:
    """ΔIoU of every class against the baseline, sorted by the students' mean, with the class's pixel share beside it.

    Raises:
        Gap: there is no baseline, or nothing to compare with it.
    """
    names, deltas = class_deltas(study)
    figure = new_figure(1.2 + 0.27 * len(names))
    axes, beside = figure.subplots(1, 2, sharey=True, width_ratios=[4, 1])
    places = np.arange(len(names))[::-1]
    styles = row_styles(study)
    axes.axvline(0, color=INK, linewidth=0.8)
    for row, values in deltas.items():
        style = styles[row]
        axes.plot(
            values, places, linestyle="none", marker=style.marker, color=style.colour, alpha=0.9,
            markerfacecolor="none" if is_teacher(row) else style.colour, label=study.label(row), gid=row,
        )  # fmt: skip
    axes.set_yticks(places, names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel(f"ΔIoU to {study.label(study.baseline.name) if study.baseline else ''} (points)")
    share_axis(beside, study, names, places)
    place_legend(figure, axes)
    return figure


def class_deltas(study: Study) -> tuple[list[str], dict[str, list[float]]]:
    """Classes from the largest mean gain of the students to the largest loss, and each row's ΔIoU in that order.

    Raises:
        Gap: as `delta_figure`.
    """
    baseline = study.baseline
    others = [row for row in study.rows if baseline is not None and row is not baseline]
    if baseline is None or not others:
        raise Gap("differences need a baseline and another row")
    everyone = [baseline, *others]
    names = [name for name in study.names if all(row.class_iou.get(name) is not None for row in everyone)]
    if not names:
        raise Gap("no class has an IoU under every row")
    difference = {
        row.name: {n: (row.class_iou[n] or 0.0) - (baseline.class_iou[n] or 0.0) for n in names} for row in others
    }
    students = [name for name in difference if not is_teacher(name)] or list(difference)
    names.sort(key=lambda name: -math.fsum(difference[row][name] for row in students))
    return names, {row: [values[name] for name in names] for row, values in difference.items()}
