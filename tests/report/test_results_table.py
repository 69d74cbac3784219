"""The main table: cells, the best of each column, protocol, differences, files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from effiseg.report.results_table import results_table, write_results_table
from effiseg.report.table import comma_separated, latex, markdown
from effiseg.results import AblationResult, AblationRow, AblationRun

ENVIRONMENT = {"cpu": "A CPU", "threads": 2, "gpus": ["A GPU"]}


def row(name: str, miou: float | None, **changes: Any) -> AblationRow:
    values: dict[str, Any] = {
        "name": name, "recipe": name, "params_m": 3.716, "gmacs": 12.345, "gmacs_attention": 1.5, "miou": miou,
        "miou_sd": None, "delta": None, "class_iou": {"road": miou, "sky, blue": None}, "confusion": [],
        "image_iou": {}, "seeds": [0], "train_seconds": 12.5,
        "runs": [AblationRun(0, f"runs/{name}-seed0", miou, 12.5, {}, 300)],
    }  # fmt: skip
    return AblationRow(**(values | changes))


def result(*rows: AblationRow, **settings: Any) -> AblationResult:
    shared = {
        "complete": True, "split": "test", "images": 7, "chance_miou": 4.321, "given_teacher": None, "epochs": 10,
        "teacher_epochs": 10, "batch_size": 4, "image_size": "64x96", "resize": "keep_ratio", "augment": "standard",
        "ema_decay": None, "precision": "32", "device": "cpu", "complexity_size": "512x1024", "latency_size": None,
    }  # fmt: skip
    return AblationResult(
        rows=list(rows),
        dataset={"name": "streets", "names": ["road", "sky, blue"]},
        class_shares={},
        class_weights={},
        protocol="full",
        environment=ENVIRONMENT,
        command="effiseg ablate",
        settings=shared | settings,
    )


def markdown_table(made: AblationResult) -> str:
    return markdown(results_table(made))


def cells_of(text: str, title: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {title} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_cells() -> None:
    text = markdown_table(
        result(
            row("teacher", 71.0, delta=10.5, params_m=27.4),
            row("baseline", 60.5, latency_ms=20.0, fps=50.0),
            row("tanh_linear", 60.504, delta=0.004, miou_sd=0.5),
            row("kd", None),
            row("my_own", 59.0, delta=-1.5, params_m=3.7161),
        )
    )
    assert "mIoU test (%)" in text.splitlines()[0]
    assert cells_of(text, "Teacher")[1:7] == ["71.00", "–", "+10.50", "27.40", "12.35", "1.50"]
    assert cells_of(text, "Baseline") == ["Baseline", "60.50", "–", "", "3.72", "12.35", "1.50", "50.00", "20.0", "0.2"]
    assert cells_of(text, "+ Tanh + Linear")[1:4] == ["60.50", "0.50", "+0.00"]
    assert cells_of(text, "+ KD")[1:4] == ["–", "–", ""]
    assert cells_of(text, "my_own")[1:4] == ["59.00", "–", "-1.50"]
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_a_score_is_marked_only_where_it_is_more_than_noise() -> None:
    rows = [
        row("teacher", 71.0, delta=10.5),
        row("baseline", 60.5),
        row("tanh", 60.6, delta=0.1),
        row("kd", 62.0, delta=1.5),
    ]
    assert "**" not in markdown_table(result(*rows))
    text = markdown(results_table(result(*rows), winner="kd"))
    assert cells_of(text, "+ KD")[1:3] == ["**62.00**", "**+1.50**"]
    assert text.count("**") == 4  # the teacher never competes


@pytest.mark.parametrize(("spread", "marked"), [(None, ["kd"]), (0.1, ["kd"]), (3.0, [])])
def test_a_latency_is_marked_only_beyond_the_spread_of_the_timing(spread: float | None, marked: list[str]) -> None:
    slow = row("baseline", 60.0, latency_ms=20.0, fps=50.0, latency_spread_ms=spread)
    fast = row("kd", 61.0, latency_ms=18.0, fps=1000 / 18, latency_spread_ms=spread)
    table = results_table(result(slow, fast))
    place = [column.key for column in table.columns].index("latency_ms")
    assert [cells[0].value for cells in table.rows if cells[place].best] == marked


def test_a_column_without_a_value_is_left_out() -> None:
    made = result(row("baseline", 60.0, params_m=None, gmacs=None, gmacs_attention=None))
    assert [column.key for column in results_table(made).columns] == ["name", "miou", "train_minutes"]


def test_the_protocol_stands_beside_the_numbers() -> None:
    text = markdown_table(result(row("baseline", 60.0)))
    for part in (
        "streets, 2 classes, test split (7 images)", "labels at their original size", "64x96 (keep_ratio)",
        "10 epochs of batch 4 (300 steps)", "augmentation standard", "last weights;",
        "seed 0: one seed, so no spread is known", "scores 4.32 %",
    ):  # fmt: skip
        assert part in text
    assert "FPS at" not in text
    assert "Unfinished" not in text
    assert "(teacher" not in text


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"complete": False}, "Unfinished: more runs are to come."),
        ({"teacher_epochs": 30}, "10 epochs (teacher 30)"),
        ({"steps": 250}, "(keep_ratio), 250 steps of batch 4, augmentation"),
        ({"ema_decay": 0.99}, "last weights (moving average)"),
        ({"latency_size": "64x64"}, "FPS at 64x64, batch 1, PyTorch eager, unfused, A CPU, 2 threads"),
        ({"latency_size": "64x64", "device": "cuda"}, "unfused, A GPU"),
        ({"latency_size": "64x64", "latency_runtime": "PyTorch eager, fused"}, "batch 1, PyTorch eager, fused, A CPU"),
    ],
)
def test_what_is_said_only_where_it_holds(settings: dict[str, Any], part: str) -> None:
    rows = [row("baseline", 60.0, latency_ms=10.0, fps=100.0)]
    assert part in markdown_table(result(*rows, **settings))
    assert part not in markdown_table(result(*rows))


def test_several_seeds() -> None:
    text = markdown_table(result(row("baseline", 60.0, seeds=[0, 3], miou_sd=1.25)))
    assert cells_of(text, "Baseline")[1:3] == ["60.00", "1.25"]
    assert "seeds 0, 3 (mean, sample sd)" in text


def test_differences_are_listed_row_by_row() -> None:
    text = markdown_table(
        result(
            row("baseline", 60.0),
            row("kd", 61.0, settings={"distillation.feature_weight": 1.0, "distillation.patch_embedding_weight": 1.0}),
            row("mine", 61.0, settings={"loss.name": "dice"}),
        )
    )
    shared = "differs from the baseline in"
    assert f"- + KD: {shared} distillation.feature_weight: 1.0, distillation.patch_embedding_weight: 1.0\n" in text
    assert f"- mine: {shared} loss.name: dice\n" in text
    assert "- Baseline" not in text


def test_csv_has_one_line_a_row_in_full_precision() -> None:
    text = comma_separated(results_table(result(row("baseline", 60.123456789), row("kd", None))))
    rows = list(csv.DictReader(text.splitlines()))
    assert list(rows[0]) == ["name", "miou", "params_m", "gmacs", "gmacs_attention", "train_minutes"]
    assert float(rows[0]["miou"]) == 60.123456789
    assert [each["name"] for each in rows] == ["baseline", "kd"]
    assert rows[1]["miou"] == ""


def test_three_files_are_written(tmp_path: Path) -> None:
    made = result(row("baseline", 60.0))
    write_results_table(made, tmp_path)
    table = results_table(made)
    for suffix, text in (("md", markdown(table)), ("csv", comma_separated(table)), ("tex", latex(table))):
        assert (tmp_path / f"table.{suffix}").read_text(encoding="utf-8") == text
