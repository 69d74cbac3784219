"""Figures hold the numbers of the files they were drawn from."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure

from effiseg.metrics.bootstrap import PairedDifference, paired_differences
from effiseg.report.figures.class_distribution import class_distribution_figure
from effiseg.report.figures.class_iou import class_deltas, delta_figure, radar_figure
from effiseg.report.figures.confusion import confusion_figure, confusion_percent
from effiseg.report.figures.curves import loss_figure, miou_figure, seed_band, terms_figure
from effiseg.report.figures.paired import against_baseline, paired_figure
from effiseg.report.figures.pareto import pareto_figure, pareto_front
from effiseg.report.figures.samples import samples_figure
from effiseg.report.figures.style import INK, STYLE, Gap, inline_svg, rendered, row_styles
from effiseg.report.reading import read_studies
from effiseg.report.study import Study
from effiseg.results import AblationResult


@pytest.fixture
def study(comparison: Path) -> Study:
    return read_studies([comparison])[0]


@pytest.fixture(autouse=True)
def _style() -> object:
    with rc_context(STYLE):
        yield


def lines(figure: Figure, axes: int = 0) -> dict[str, np.ndarray]:
    """gid → (x, y) of every line that has one."""
    return {
        str(line.get_gid()): np.array([line.get_xdata(), line.get_ydata()], float)
        for line in figure.axes[axes].lines
        if line.get_gid()
    }


def test_loss_curves(study: Study) -> None:
    drawn = lines(loss_figure(study))
    assert list(drawn) == study.order
    for name, points in drawn.items():
        assert points[0].tolist() == [1, 2, 3, 4]
        assert points[1] == pytest.approx(np.mean([history["loss"] for history in study.histories[name]], axis=0))


def test_val_miou_has_only_the_epochs_that_were_evaluated(study: Study) -> None:
    for points in lines(miou_figure(study)).values():
        assert points.tolist() == [[2, 4], [20, 40]]


def test_every_term_of_every_row(study: Study) -> None:
    figure = terms_figure(study)
    drawn = {gid: points for axes in range(len(figure.axes)) for gid, points in lines(figure, axes).items()}
    assert set(drawn) == {f"{row}/{term}" for row in study.order for term in ("loss", "supervised", "feature")}
    assert drawn["kd/feature"][1] == pytest.approx(np.array(study.histories["kd"][0]["feature"], float))


def test_a_band_spans_the_seeds() -> None:
    histories = [{"epoch": [1.0, 2.0], "loss": [1.0, 4.0]}, {"epoch": [1.0, 2.0, 3.0], "loss": [3.0, None, 5.0]}]
    epochs, middle, low, high = seed_band(histories, "loss")
    assert [epochs.tolist(), middle.tolist(), low.tolist(), high.tolist()] == [
        [1, 2, 3],
        [2, 4, 5],
        [1, 4, 5],
        [3, 4, 5],
    ]


def test_the_radar_closes_over_every_class(study: Study) -> None:
    drawn = lines(radar_figure(study))
    for row in study.rows:
        angles, values = drawn[row.name]
        assert values[:-1] == pytest.approx([row.class_iou[name] for name in study.names])
        assert (angles[0], values[0]) == (angles[-1], values[-1])
        assert angles[1] == pytest.approx(2 * math.pi / 4)


def test_deltas_are_sorted_by_the_students_mean(study: Study) -> None:
    names, deltas = class_deltas(study)
    by_row = {row.name: row for row in study.rows}
    for row, values in deltas.items():
        for name, value in zip(names, values, strict=True):
            assert value == pytest.approx(by_row[row].class_iou[name] - by_row["baseline"].class_iou[name])
    means = np.mean([deltas["kd"], deltas["<b>mine</b>"]], axis=0)
    assert means.tolist() == sorted(means, reverse=True)
    figure = delta_figure(study)
    for row, points in lines(figure).items():
        assert points[0] == pytest.approx(deltas[row])
        assert points[1].tolist() == [3, 2, 1, 0]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == names
    widths = [bar.get_width() for bar in figure.axes[1].patches]
    assert widths == pytest.approx([100 * study.result.class_shares[name] for name in names])


def test_shares_and_weights_of_the_classes(study: Study) -> None:
    figure = class_distribution_figure(study)
    assert [bar.get_width() for bar in figure.axes[0].patches] == pytest.approx([90, 9, 0.99, 0.01])
    assert figure.axes[0].get_xscale() == "log"
    assert lines(figure, 1)["weights"][0].tolist() == [1.4, 5.0, 9.0, 10.4]


def test_the_confusion_matrix_is_normalized_by_the_truth(study: Study) -> None:
    row = study.rows[2]
    share = confusion_percent(row)
    counts = np.array(row.confusion, float)
    assert share == pytest.approx(100 * counts[:, :4] / counts.sum(1, keepdims=True))
    mesh = confusion_figure(study, row).axes[0].collections[0]
    assert np.asarray(mesh.get_array()).reshape(4, 4) == pytest.approx(share)
    row.confusion[0][4] = 7
    assert confusion_percent(row).shape == (4, 5)
    row.confusion[1] = [0] * 5
    assert np.isnan(confusion_percent(row)[1]).all()


def test_score_against_latency_with_the_front(study: Study) -> None:
    figure = pareto_figure(study)
    drawn = {c.get_gid(): np.asarray(c.get_offsets())[0].tolist() for c in figure.axes[0].collections}
    for row in study.rows:
        assert drawn[row.name] == [row.latency_ms, pytest.approx(row.miou)]
    front = lines(figure)["front"]
    assert front[0].tolist() == [190, 800]
    for row in study.rows:
        row.latency_ms = None
    assert "no latency measured" in pareto_figure(study).axes[0].get_xlabel()


def test_a_front_holds_what_nothing_beats() -> None:
    assert pareto_front([(2, 5), (1, 3), (3, 4), (1, 2), (4, 9)]) == [(1, 3), (2, 5), (4, 9)]
    # Costs within the timing's spread are equal: the better one stands alone.
    assert pareto_front([(1.0, 3), (1.04, 5), (4, 9)], tolerance=0.05) == [(1.04, 5), (4, 9)]


def test_intervals_against_the_baseline(study: Study) -> None:
    pairs = paired_differences(study.evaluations)
    turned = {pair.first: pair for pair in against_baseline(study, pairs)}
    assert list(turned) == ["teacher", "kd", "<b>mine</b>"]
    assert all(pair.second == "baseline" and pair.low < pair.delta < pair.high for pair in turned.values())
    # The split's mIoU follows from the counts of its images, so the differences are the table's.
    for row in study.rows:
        if row.name in turned:
            assert turned[row.name].delta == pytest.approx(row.delta)
    drawn = lines(paired_figure(study, pairs))
    for name, pair in turned.items():
        assert drawn[name][0].tolist() == [pair.delta]
        assert drawn[f"{name}/interval"][0].tolist() == [pair.low, pair.high]


def test_a_turned_pair_mirrors_its_interval(study: Study) -> None:
    (pair,) = against_baseline(study, [PairedDifference("baseline", "teacher", 2.0, 1.0, 4.0, 0.75)])
    assert pair == PairedDifference("teacher", "baseline", -2.0, -4.0, -1.0, 0.25)


def test_the_sheet_shows_image_truth_predictions_and_errors(study: Study) -> None:
    palette = [(10, 20, 30), (200, 0, 0), (0, 200, 0), (0, 0, 200)]
    figure = samples_figure(study, "differ", palette)
    pictures = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    assert len(pictures) == 2 + 2 * len(study.rows)
    assert study.samples is not None
    truth = study.samples.truth(study.samples.samples[0])
    assert (pictures[1][truth < 4] == np.array(palette)[truth[truth < 4]]).all()


@pytest.mark.parametrize("draw", [loss_figure, miou_figure, terms_figure, radar_figure, delta_figure, pareto_figure,
                                  class_distribution_figure])  # fmt: skip
def test_what_is_not_there_is_a_gap(draw: object) -> None:
    empty = AblationResult([], {}, {}, {}, "full", {}, "")
    assert callable(draw)
    with pytest.raises(Gap):
        draw(Study("empty", Path(), empty))


def test_rows_look_the_same_in_every_figure_and_differ_from_each_other(study: Study) -> None:
    styles = row_styles(study)
    assert len({(style.colour, style.marker) for style in styles.values()}) == len(styles)
    assert styles["teacher"].colour == INK


def test_files_are_the_same_every_time_and_ids_are_unique_on_the_page(study: Study) -> None:
    first, again = (rendered(loss_figure(study), "loss") for _ in range(2))
    assert first == again
    assert first["pdf"].startswith(b"%PDF")
    assert first["png"].startswith(b"\x89PNG")
    text = inline_svg(first["svg"], "loss", 'A "title" <x>')
    assert text.startswith("<svg ")
    assert 'aria-label="A &quot;title&quot; &lt;x&gt;"' in text
    assert INK not in text
    assert "var(--ink)" in text
    assert "<script" not in text.lower()
    assert "<b>mine" not in text
    assert "&lt;b&gt;mine&lt;/b&gt;" in text
    assert all('id="loss-' in part for part in text.split(" ") if part.startswith('id="'))
