"""mIoU against what it costs, with the Pareto front."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from effiseg.report.figures.style import INK, SURFACE, Gap, new_figure, row_styles
from effiseg.report.noise import timing_tolerance
from effiseg.report.study import Study
from effiseg.results import AblationRow

Point = tuple[float, float]
Cost = Callable[[AblationRow], float | None]
_LINE_POINTS = 11.0  # height of a label with its gap


def pareto_figure(study: Study) -> Figure:
    """mIoU against latency, or multiply-accumulates where no latency was measured; a bubble's area is its parameters.

    Raises:
        Gap: no row has both.
    """
    cost, label = _cost_of(study)
    rows = [row for row in study.rows if row.miou is not None and cost(row) is not None]
    if not rows:
        raise Gap("no row has both a score and a latency or a count of multiply-accumulates")
    points = [(cost(row) or 0.0, row.miou or 0.0) for row in rows]
    figure = new_figure(3.7)
    axes = figure.subplots()
    front = pareto_front(points, timing_tolerance(rows))
    axes.plot(*zip(*front, strict=True), "--", color=INK, linewidth=1, drawstyle="steps-post", gid="front", zorder=1)
    largest = max((row.params_m or 1.0 for row in rows), default=1.0)
    styles = row_styles(study)
    for row, (x, y) in zip(rows, points, strict=True):
        area = 60 + 300 * (row.params_m or 1.0) / largest
        axes.scatter(
            [x], [y], s=area, color=styles[row.name].colour, edgecolors=SURFACE, linewidths=1, alpha=0.9, gid=row.name,
            zorder=2,
        )  # fmt: skip
    axes.set_xlabel(label)
    axes.set_ylabel(f"mIoU {study.result.settings.get('split', '')} (%)")
    scale_to_points(axes, points)
    label_points(axes, [study.label(row.name) for row in rows], points, front)
    return figure


def _cost_of(study: Study) -> tuple[Cost, str]:
    """How a row's cost is read, and what the axis is called."""
    if any(row.latency_ms is not None for row in study.rows):
        size = study.result.settings.get("latency_size")
        return lambda row: row.latency_ms, f"latency at {size} (ms)" if size else "latency (ms)"
    size = study.result.settings.get("complexity_size")
    return lambda row: row.gmacs, f"GMACs at {size}, no latency measured" if size else "GMACs, no latency measured"


def pareto_front(points: list[Point], tolerance: float = 0.0) -> list[Point]:
    """The points that no other beats in cost (less) and score (more), from the cheapest on.

    Args:
        points: (cost, score).
        tolerance: share of a cost by which another may be larger and still count as equal.
    """
    front: list[Point] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if front and y > front[-1][1] and x <= front[-1][0] * (1 + tolerance):
            front[-1] = (x, y)
        elif not front or y > front[-1][1]:
            front.append((x, y))
    return front


def scale_to_points(axes: Axes, points: list[Point]) -> None:
    """A logarithmic axis with round numbers, and room for bubbles and labels."""
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    if low > 0:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.3, high * 1.6 * (high / low) ** 0.3)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5), numticks=12))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    scores = [y for _, y in points]
    room = max(max(scores) - min(scores), 1.0) * 0.15
    axes.set_ylim(min(scores) - room, max(scores) + room)


def label_points(axes: Axes, names: list[str], points: list[Point], front: list[Point]) -> None:
    """Names at the right of their bubbles, moved apart vertically where they would overlap."""
    axes.figure.canvas.draw()
    scale = 72.0 / axes.figure.dpi
    pixels = axes.transData.transform(points) * scale
    order = sorted(range(len(points)), key=lambda i: pixels[i][1])
    placed: list[tuple[float, float]] = []
    for index in order:
        x, y = pixels[index]
        lifted = y + _LINE_POINTS * 0.6 * (points[index] in front)  # off the dashed line
        height = max([lifted, *(other + _LINE_POINTS for near, other in placed if abs(near - x) < 110)])
        placed.append((x, height))
        moved = height - y
        axes.annotate(
            names[index], points[index], (13, moved), textcoords="offset points", va="center", ha="left",
            arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.5, "shrinkB": 3} if moved > 8 else None,
            bbox={"facecolor": axes.get_facecolor(), "edgecolor": "none", "pad": 0.5},  # over lines
        )  # fmt: skip
