"""What is read of finished comparisons, of ones that are still going, of runs and of evaluations."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from effiseg.errors import DataError, UsageError
from effiseg.files import read_json, write_json, write_text, write_yaml
from effiseg.report.reading import read_studies
from effiseg.report.results_table import results_table
from effiseg.report.samples import read_samples
from effiseg.results import AblationResult


def test_a_finished_comparison(comparison: Path, invented: ModuleType) -> None:
    (study,) = read_studies([comparison])
    assert study.title == "my comparison"
    assert [row.name for row in study.rows] == study.order == invented.ROWS
    assert study.gaps == []
    assert study.progress == {}
    assert study.samples is not None
    assert {name: len(found) for name, found in study.histories.items()} == {
        "teacher": 1,
        **dict.fromkeys(invented.ROWS[1:], 2),
    }
    assert study.histories["kd"][0]["loss"] == pytest.approx([6.0, 4.0, 10 / 3, 3.0])
    assert study.histories["kd"][0]["val_miou"] == [None, 20.0, None, 40.0]
    assert [e.image_counts for e in study.evaluations["kd"]] == [
        invented.evaluation("kd", seed).image_counts for seed in (0, 1)
    ]
    assert study.baseline is not None
    assert study.baseline.name == "baseline"
    (again,) = read_studies([comparison / "results.json"])
    assert again.result == study.result


def test_a_results_file_alone_names_what_it_lacks(comparison: Path, tmp_path: Path, invented: ModuleType) -> None:
    shutil.copy(comparison / "results.json", tmp_path / "results.json")
    (study,) = read_studies([tmp_path / "results.json"])
    assert [row.name for row in study.rows] == invented.ROWS
    assert not study.histories
    assert not study.evaluations
    assert any("pictures" in gap for gap in study.gaps)


def test_a_comparison_that_is_still_going(comparison: Path, tmp_path: Path, invented: ModuleType) -> None:
    result = AblationResult.from_dict(read_json(comparison / "results.json"))
    result.rows = result.rows[:2]
    write_json(tmp_path / "results.json", result.to_dict())
    write_yaml(tmp_path / "ablation.yaml", {"recipes": ["baseline", "kd", "tanh"], "seeds": [0, 1], "teacher": None})
    for row in ("teacher", "baseline"):
        shutil.copytree(comparison / "runs" / f"{row}-seed0", tmp_path / "runs" / f"{row}-seed0")
    shutil.copytree(comparison / "runs" / "baseline-seed1", tmp_path / "runs" / "baseline-seed1")
    invented.write_run(tmp_path / "runs" / "kd-seed0", "kd", 0, epochs=3)
    (study,) = read_studies([tmp_path])
    assert study.order == ["teacher", "baseline", "kd"]
    assert len(study.histories["kd"][0]["epoch"]) == 3
    assert study.progress == {"kd": "epoch 3 of 4"}
    assert study.label("kd") == "+ KD (epoch 3 of 4)"
    assert "+ KD: kd-seed0 is not finished, epoch 3 of 4" in study.gaps
    assert "not begun: + KD (seed 1), + Tanh (seed 0), + Tanh (seed 1)" in study.gaps


def test_a_teacher_trained_before_another_was_given_is_left_out(comparison: Path, tmp_path: Path) -> None:
    """Its curve would stand for the given teacher's."""
    shutil.copytree(comparison, tmp_path / "continued")
    assert "teacher" in read_studies([tmp_path / "continued"])[0].histories
    settings = {"recipes": ["baseline", "kd"], "seeds": [0, 1], "teacher": "elsewhere"}
    write_yaml(tmp_path / "continued" / "ablation.yaml", settings)
    (study,) = read_studies([tmp_path / "continued"])
    assert "teacher" not in study.histories
    assert "teacher" in [row.name for row in study.rows]


def test_a_comparison_of_which_no_run_is_finished(tmp_path: Path, invented: ModuleType) -> None:
    invented.write_run(tmp_path / "runs" / "teacher-seed0", "teacher", 0, epochs=2)
    empty = tmp_path / "runs" / "baseline-seed0"
    write_yaml(empty / "config.yaml", {"recipe": "baseline", "seed": 0, "epochs": 4})
    (study,) = read_studies([tmp_path])
    assert [row.name for row in study.rows] == ["teacher"]
    assert study.result.settings["split"] == "val"
    assert results_table(study.result, study.label).rows[0][0].text == "Teacher (epoch 2 of 4)"
    assert any("the comparison has no results yet" in gap for gap in study.gaps)
    assert any("baseline-seed0 is not finished, epoch 0 of 4" in gap for gap in study.gaps)


def test_runs_and_evaluations_beside_each_other(tmp_path: Path, invented: ModuleType) -> None:
    invented.write_run(tmp_path / "a", "baseline", 0)
    invented.write_run(tmp_path / "b", "kd", 3)
    invented.write_run(tmp_path / "other" / "b", "kd", 3, epochs=2)
    write_json(tmp_path / "theirs.json", {**invented.evaluation("teacher", 0, "val").to_dict(), "command": "x"})
    paths = [tmp_path / "a", tmp_path / "b", tmp_path / "other" / "b", tmp_path / "theirs.json"]
    (study,) = read_studies(paths)
    assert study.order == ["a", f"{tmp_path.name}/b", "other/b", "theirs"]
    assert study.baseline is not None
    assert study.baseline.name == "a"
    assert study.rows[1].delta == pytest.approx((study.rows[1].miou or 0) - (study.rows[0].miou or 0))
    assert study.rows[1].settings == {"loss.name": "dice"}
    assert study.progress == {"other/b": "epoch 2 of 4"}
    assert study.rows[0].params_m is None
    assert all(len(study.evaluations[name][0].image_counts) == len(invented.IDS) for name in study.order)


@pytest.mark.parametrize("kind", ["missing", "empty", "json"])
def test_what_is_no_result_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.json"
    if kind == "empty":
        path.mkdir()
    elif kind == "json":
        write_json(path, {"a": 1})
    with pytest.raises(UsageError, match=r"x\.json: .*a run folder, a comparison folder, its results\.json") as error:
        read_studies([path])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("file", "place", "value", "complaint"),
    [
        ("results.json", ("rows", 0, "miou"), 101, r"rows\[0\]\.miou must be from 0 to 100, percent; found 101"),
        ("results.json", ("rows", 0, "class_iou", "road"), -1, "must be from 0 to 100"),
        ("results.json", ("rows", 0, "delta"), 10**30, "must be a number of at most 1e"),
        ("results.json", ("rows", 0, "delta"), float("inf"), "must be a number of at most 1e"),
        ("results.json", ("rows", 0, "confusion", 0, 0), -1, "must be at least 0"),
        ("results.json", ("rows", 0, "confusion"), [], "row teacher: confusion must have 4 rows of 5 counts"),
        ("results.json", ("rows", 0, "fps"), "fast", "must be a number"),
        ("results.json", ("rows", 0, "name"), "kd", "names of rows must be a list of texts that differ"),
        ("results.json", ("dataset", "names"), ["a", "a", "b", "c"], "dataset.names must be a list of texts"),
        ("results.json", ("dataset", "palette"), [[1, 2]], "dataset.palette must hold colors"),
        ("results.json", ("class_shares", "road"), 1.5, "must be a share, from 0 to 1"),
        ("results.json", ("settings", "chance_miou"), "much", "settings.chance_miou must be a number"),
        ("results.json", ("environment", "gpus"), 2, "environment.gpus must be a list"),
        ("runs/kd-seed0/evaluation-test.json", ("image_counts", "image0", 0), [-1, 0, 0, 0], "must be at least 0"),
        ("runs/kd-seed0/evaluation-test.json", ("protocol",), "half", "protocol must be full or quarter"),
        ("runs/kd-seed0/evaluation-test.json", ("miou_interval",), [1.0], "must be two numbers"),
    ],
)
def test_results_that_were_edited_by_hand_are_one_line(
    comparison: Path, tmp_path: Path, file: str, place: tuple[str | int, ...], value: object, complaint: str
) -> None:
    shutil.copytree(comparison, tmp_path / "c")
    content = read_json(tmp_path / "c" / file)
    part = content
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    (tmp_path / "c" / file).write_text(json.dumps(content).replace("Infinity", "1e999"))
    with pytest.raises(UsageError, match=complaint) as caught:
        read_studies([tmp_path / "c"])
    assert str(caught.value).startswith(f"{tmp_path / 'c' / file}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("runs/teacher-seed0/class_statistics.json", "[]", "must be an object"),
        ("runs/teacher-seed0/class_statistics.json", '{"shares": {"road": "x"}}', "must be a number"),
        ("runs/teacher-seed0/config.yaml", "seed: much", "seed in its settings must be a whole number"),
        ("ablation.yaml", "recipes: 7", "recipes must be a list of texts"),
        ("ablation.yaml", "seeds: [x]", "seeds must be a list of whole numbers"),
    ],
)
def test_other_files_of_a_comparison_that_were_edited_by_hand_are_one_line(
    comparison: Path, tmp_path: Path, file: str, text: str, complaint: str
) -> None:
    shutil.copytree(comparison, tmp_path / "c")
    (tmp_path / "c" / "results.json").unlink()
    (tmp_path / "c" / file).write_text(text)
    with pytest.raises(UsageError, match=complaint):
        read_studies([tmp_path / "c"])


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", ["image.jpg", "truth.png", "0.png"])
def test_a_picture_that_is_a_fifo_or_of_another_size_is_a_fault(comparison: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(comparison / "samples", tmp_path / "samples")
    index = read_samples(tmp_path)
    assert index is not None
    sample = index.samples[0]

    def read() -> None:
        index.image(sample)
        index.prediction(sample, "teacher")

    read()
    path = tmp_path / "samples" / sample.folder / name
    if name == "0.png":
        Image.new("L", (7, 5)).save(path)
        with pytest.raises(DataError, match=r"0\.png: must be as large as truth\.png, \(24, 40\); found \(5, 7\)"):
            read()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match=rf"{name}: must be a regular file"):
        read()


def test_what_results_name_may_be_too_long_for_the_system(comparison: Path, tmp_path: Path) -> None:
    content = read_json(comparison / "results.json")
    content["rows"][0]["runs"][0]["folder"] = "x" * 5000
    write_json(tmp_path / "results.json", content)
    assert len(read_studies([tmp_path / "results.json"])[0].rows) == 4


def test_broken_metrics_are_refused(tmp_path: Path, invented: ModuleType) -> None:
    invented.write_run(tmp_path / "a", "baseline", 0)
    write_text(tmp_path / "a" / "metrics.csv", "epoch,loss\n1,much\n")
    with pytest.raises(UsageError, match=r"metrics\.csv: every cell must be a number or empty"):
        read_studies([tmp_path / "a"])


def test_a_broken_index_of_samples_is_a_gap(comparison: Path, tmp_path: Path) -> None:
    shutil.copytree(comparison, tmp_path / "c")
    write_json(tmp_path / "c" / "samples" / "index.json", {"samples": [1]})
    (study,) = read_studies([tmp_path / "c"])
    assert study.samples is None
    assert any("is not an index of saved samples" in gap for gap in study.gaps)
