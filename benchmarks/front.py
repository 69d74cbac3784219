"""The figure of the README: latency against accuracy of the family, B0 in transformers, and YOLO26n-sem.

    python benchmarks/front.py    # docs/figures/front.svg and front.png

Latencies are medians of one run of `benchmarks/peer.py`, accuracies those of CamVid's test split; both files in
benchmarks/results hold their commands. B0 in transformers has b0's weights, hence b0's accuracy.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from peer import THEIR_B0

from effiseg.files import read_json
from effiseg.report.figures.pareto import label_points, pareto_front, scale_to_points
from effiseg.report.figures.style import INK, new_figure, rendered

RESULTS = Path(__file__).parent / "results"
FIGURES = Path(__file__).parents[1] / "docs" / "figures"
CONDITIONS = {"image_size": [512, 1024], "output": "logits", "engine": "openvino float32"}
COLORS = {"ours": "#2a78d6", "theirs": "#898781"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the figure from the results files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--latency", type=Path, default=RESULTS / "peer.json")
    parser.add_argument("--accuracy", type=Path, default=RESULTS / "camvid-small.json")
    parser.add_argument("--out", type=Path, default=FIGURES, help="folder of front.svg and front.png")
    options = parser.parse_args(arguments)
    points = points_of(read_json(options.latency), read_json(options.accuracy))
    for form, data in rendered(front_figure(points), "front", ("svg", "png")).items():
        path = options.out / f"front.{form}"
        path.write_bytes(data)
        print(f"written to {path}")


def points_of(latency: Mapping[str, Any], accuracy: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Contender → (milliseconds, mIoU in percent), of those whose accuracy was measured."""
    miou = {name: float(row["test_miou"]) for name, row in accuracy["rows"].items()}
    miou[THEIR_B0] = miou["b0"]
    rows = [row for row in latency["rows"] if all(row[key] == value for key, value in CONDITIONS.items())]
    return {row["model"]: (row["ms"], miou[row["model"]]) for row in rows if row["model"] in miou}


def front_figure(points: Mapping[str, tuple[float, float]]) -> Figure:
    """Every contender as a point, and the line of those that none beats in both."""
    figure = new_figure(3.4)
    axes = figure.subplots()
    found = list(points.values())
    front = pareto_front(found)
    axes.plot(*zip(*front, strict=True), "--", color=INK, linewidth=1, drawstyle="steps-post", zorder=1)
    for name, (x, y) in points.items():
        axes.scatter([x], [y], s=90, color=COLORS["ours" if name in ("n", "s", "b0") else "theirs"], gid=name, zorder=2)
    axes.set_xlabel("latency at 512×1024, OpenVINO float32, two threads (ms)")
    axes.set_ylabel("mIoU, CamVid test (%)")
    scale_to_points(axes, found)
    label_points(axes, list(points), found, front)
    return figure


if __name__ == "__main__":
    main()
