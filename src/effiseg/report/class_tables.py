"""Tables beside the main one: classes, pairs of rows, worst images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from effiseg.metrics.bootstrap import RESAMPLES, PairedDifference
from effiseg.report.row_titles import is_teacher
from effiseg.report.study import Study
from effiseg.report.table import Cell, Column, Table, mark_best, number_cell, text_cell

_WORST = 5


def class_iou_table(study: Study) -> Table:
    """IoU of every class under every row, with the class's share of the training pixels; rows as columns."""
    columns = [Column("Class", "class", number=False), Column("Pixels (%)", "pixel_share")]
    columns += [Column(study.label(row.name), row.name, "higher") for row in study.rows]
    rows = []
    for name in study.names:
        share = study.result.class_shares.get(name)
        cells = [text_cell(name), number_cell(None if share is None else 100 * share, ".2f")]
        cells += [number_cell(row.class_iou.get(name), ".1f") for row in study.rows]
        rows.append(_mark_best_across(cells, [row.name for row in study.rows]))
    return Table("class-iou", "IoU per class, percent", columns, rows)


def class_statistics_table(study: Study) -> Table:
    """Share of the training pixels and weight of every class."""
    columns = [
        Column("Class", "class", number=False),
        Column("Pixels (%)", "pixel_share"),
        Column("Weight", "weight"),
    ]
    shares, weights = study.result.class_shares, study.result.class_weights
    rows = [
        [text_cell(name), number_cell(100 * shares[name], ".2f"), number_cell(weights.get(name), ".3f")]
        for name in sorted(shares, key=lambda name: -shares[name])
    ]
    return Table("classes", "Classes of the training split", columns, rows)


def settings_table(settings: Mapping[str, Any]) -> Table:
    """Every setting of a run, as it was resolved."""
    columns = [Column("Setting", "setting", number=False), Column("Value", "value", number=False)]
    rows = [[text_cell(name), text_cell("null" if value is None else str(value))] for name, value in settings.items()]
    return Table("settings", "Every setting", columns, rows)


def paired_table(study: Study, differences: list[PairedDifference]) -> Table:
    """Every pair of rows with its interval."""
    columns = [
        Column("Row", "first", number=False),
        Column("minus", "second", number=False),
        Column("Δ mIoU", "delta"),
        Column("95 % low", "low"),
        Column("95 % high", "high"),
        Column("Better in (%)", "share_above_zero"),
        Column("More than noise?", "more_than_noise", number=False),
    ]
    rows = [
        [
            text_cell(study.label(pair.first), pair.first),
            text_cell(study.label(pair.second), pair.second),
            number_cell(pair.delta, "+.2f"),
            number_cell(pair.low, "+.2f"),
            number_cell(pair.high, "+.2f"),
            number_cell(100 * pair.share_above_zero, ".0f"),
            text_cell("yes" if pair.is_more_than_noise else "no"),
        ]
        for pair in differences
    ]
    images = len(next(iter(study.evaluations.values()))[0].image_counts)
    note = (
        f"{RESAMPLES} draws of {images} images with replacement, the same ones for both rows; each draw's pixel counts "
        "are pooled into one mIoU as the whole split's are. An interval that leaves out 0 is more than the choice of "
        "images. It does not cover the choice of the training seed."
    )
    return Table("paired", "Paired comparison of any two rows over images", columns, rows, [note])


def worst_images_table(study: Study) -> Table:
    """The images on which each row does worst, by mean IoU over the classes of the image."""
    columns = [
        Column("Row", "row", number=False),
        Column("Rank", "rank"),
        Column("Image", "image", number=False),
        Column("IoU (%)", "iou"),
    ]
    rows: list[list[Cell]] = []
    for row in study.rows:
        known = [(iou, name) for name, iou in row.image_iou.items() if iou is not None]
        for rank, (iou, name) in enumerate(sorted(known)[:_WORST], 1):
            title = text_cell(study.label(row.name), row.name)
            rows.append([title, number_cell(rank, "d"), text_cell(name), number_cell(iou, ".1f")])
    note = "Mean IoU over the classes that the image's label holds; mean over the seeds."
    return Table("worst-images", f"The {_WORST} worst images of each row", columns, rows, [note])


def _mark_best_across(cells: list[Cell], row_names: list[str]) -> list[Cell]:
    """Mark the best student of one class: the best along a line instead of down a column."""
    column = [[cell] for cell in cells[2:]]
    marked = mark_best([Column("", "", "higher")], column, [not is_teacher(name) for name in row_names])
    return cells[:2] + [line[0] for line in marked]
