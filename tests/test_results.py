"""Results survive the way through JSON, and what is none is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from effiseg.errors import UsageError
from effiseg.files import read_json, write_json
from effiseg.results import AblationResult, AblationRow, AblationRun, EvaluationResult


def an_evaluation() -> EvaluationResult:
    return EvaluationResult(
        miou=50.0, class_iou={"road": 100.0, "sky": 0.0, "bus": None}, mean_accuracy=50.0,
        pixel_accuracy=75.5, images=2, split="val", protocol="full", names=["road", "sky", "bus"],
        confusion=[[3, 0, 0, 0], [1, 0, 0, 2], [0, 0, 0, 0]], image_iou={"a": 50.0, "b": None},
        dataset="cityscapes", model="runs/b0", image_size=[512, 1024], resize="keep_ratio",
        image_counts={"a": [[3, 0, 0], [3, 1, 0], [4, 0, 0]]},
    )  # fmt: skip


def an_ablation() -> AblationResult:
    row = AblationRow(
        name="baseline", recipe="baseline", params_m=3.72, gmacs=13.6, gmacs_attention=4.16, miou=40.0,
        miou_sd=None, delta=None, class_iou={"road": 40.0, "sky": None}, confusion=[[1, 2, 3], [4, 5, 6]],
        image_iou={"a": 40.0}, latency_ms=100.0, fps=10.0, train_seconds=9.0, seeds=[0],
        runs=[AblationRun(seed=0, folder="runs/baseline-seed0", miou=40.0)], settings={"loss.name": "dice"},
    )  # fmt: skip
    return AblationResult(
        rows=[row], dataset={"name": "x", "names": ["road", "sky"]}, class_shares={"road": 0.9, "sky": 0.1},
        class_weights={"road": 1.0, "sky": 2.0}, protocol="full", environment={"python": "3"},
        command="effiseg",
    )  # fmt: skip


def test_an_evaluation_comes_back(tmp_path: Path) -> None:
    write_json(tmp_path / "r.json", an_evaluation().to_dict())
    assert EvaluationResult.from_dict(read_json(tmp_path / "r.json")) == an_evaluation()


def test_an_ablation_comes_back(tmp_path: Path) -> None:
    write_json(tmp_path / "r.json", an_ablation().to_dict())
    again = AblationResult.from_dict(read_json(tmp_path / "r.json"))
    assert again == an_ablation()
    assert isinstance(again.rows[0].runs[0], AblationRun)


def test_the_keys_that_others_read() -> None:
    evaluation = {
        "miou", "class_iou", "mean_accuracy", "pixel_accuracy", "images", "split", "protocol",
        "confusion", "image_iou",
    }  # fmt: skip
    assert evaluation <= set(an_evaluation().to_dict())
    ablation = {
        "rows", "dataset", "class_shares", "class_weights", "protocol", "environment", "command",
    }  # fmt: skip
    assert ablation <= set(an_ablation().to_dict())
    row = {
        "name", "recipe", "params_m", "gmacs", "gmacs_attention", "miou", "miou_sd", "delta", "class_iou",
        "confusion", "image_iou", "latency_ms", "fps", "train_seconds", "seeds", "runs",
    }  # fmt: skip
    assert row <= set(an_ablation().to_dict()["rows"][0])


def test_keys_of_a_later_version_are_left_out() -> None:
    value = {**an_evaluation().to_dict(), "from_the_future": 1}
    assert EvaluationResult.from_dict(value) == an_evaluation()


def test_whole_numbers_are_numbers() -> None:
    value = json.loads(json.dumps({**an_evaluation().to_dict(), "miou": 50}))
    assert isinstance(EvaluationResult.from_dict(value).miou, float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"miou": "50"}, r"miou must be a number; found '50'"),
        ({"miou": True}, r"miou must be a number; found True"),
        ({"images": 1.5}, r"images must be a whole number; found 1.5"),
        ({"split": None}, r"split must be a text; found None"),
        ({"class_iou": []}, r"class_iou must be an object; found \[\]"),
        ({"class_iou": {"road": "x"}}, r"class_iou\['road'\] must be a number; found 'x'"),
        ({"confusion": [[1, 2], 3]}, r"confusion\[1\] must be a list; found 3"),
        ({"confusion": [[1, 2]]}, r"confusion must have 3 rows of 4 counts"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"^old.json: {message}") as caught:
        EvaluationResult.from_dict({**an_evaluation().to_dict(), **change}, "old.json")
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named_with_its_place() -> None:
    value = an_ablation().to_dict()
    del value["rows"][0]["runs"][0]["seed"]
    with pytest.raises(UsageError, match=r"old.json: .*'rows\[0\].runs\[0\].seed'"):
        AblationResult.from_dict(value, "old.json")


@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_no_object_at_all(value: Any) -> None:
    with pytest.raises(UsageError, match="the top level must be an object"):
        AblationResult.from_dict(value, "old.json")


def test_image_counts_of_another_shape_are_refused() -> None:
    value = an_evaluation().to_dict()
    value["image_counts"]["a"] = [[1, 2, 3], [1, 2, 3]]
    with pytest.raises(UsageError, match=r"^r\.json: image_counts must hold three rows of 3 counts for each image$"):
        EvaluationResult.from_dict(value, "r.json")


def test_a_file_without_image_counts_is_read() -> None:
    value = an_evaluation().to_dict()
    del value["image_counts"]
    assert EvaluationResult.from_dict(value).image_counts == {}


def test_a_list_of_numbers_takes_one_line_of_the_file(tmp_path: Path) -> None:
    value = {"a": [[1, 2.5, None], [-3, 1e-9, 4]], "b": ["[\n  1,\n  2\n]", "x"], "c": [], "d": [{"e": 1}]}
    write_json(tmp_path / "r.json", value)
    assert read_json(tmp_path / "r.json") == value
    assert "[1, 2.5, null],\n" in (tmp_path / "r.json").read_text(encoding="utf-8")
