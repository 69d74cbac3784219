"""The card of a model: what the Hub reads, what a person reads, nothing that a name could break."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from effiseg.config.model import ModelConfig
from effiseg.config.training import TrainConfig
from effiseg.files import write_json
from effiseg.models.metadata import ModelMetadata
from effiseg.results import EvaluationResult
from effiseg.run_folder import RunFolder
from effiseg.training.model_card import model_card

NAMES = ("road", "pipe | and *star*", "<b>")
CONFIG = TrainConfig(
    data="/home/me/private/streets.yaml", recipe="kd", teacher=None, model=ModelConfig("b0", "dyt", "layer_norm")
)


def results(**own: Any) -> dict[str, Any]:
    iou = dict(zip(NAMES, (90.125, None, 12.5), strict=True))
    evaluation = EvaluationResult(51.3125, iou, 60.0, 88.0, 3, "val", "full", list(NAMES), [[1] * 4] * 3, {})
    evaluation = replace(evaluation, dataset="my: streets", image_size=[32, 64], resize="keep_ratio")
    return {"epochs": 2, "steps": 6, "best_epoch": 1, "val": evaluation.to_dict(), **own}


def card(tmp_path: Path, config: TrainConfig = CONFIG, **own: Any) -> tuple[dict[str, Any], str]:
    """Front matter and text."""
    run = RunFolder(tmp_path / "my run")
    write_json(run.class_statistics, {"shares": {"road": 0.75}, "weights": {}})
    write_json(run.teacher_evaluation(), {"miou": 77.7})
    text = model_card(run, config, ModelMetadata(names=NAMES), results(**own))
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def test_the_hub_reads_what_was_measured(tmp_path: Path) -> None:
    front, _ = card(tmp_path)
    assert (front["library_name"], front["pipeline_tag"]) == ("effiseg", "image-segmentation")
    assert "dyt" in front["tags"]
    assert "license" not in front
    (entry,) = front["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == "my run"
    assert result["dataset"] == {"name": "my: streets", "type": "my: streets", "split": "val"}
    assert [(metric["type"], metric["value"]) for metric in result["metrics"]] == [
        ("mean_iou", 51.3125),
        ("accuracy", 88.0),
    ]


def test_a_person_reads_data_protocol_network_and_classes(tmp_path: Path) -> None:
    teacher = tmp_path / "teachers" / "b2"
    teacher.mkdir(parents=True)
    _, text = card(tmp_path, replace(CONFIG, teacher=str(teacher)))
    for words in ("SegFormer-B0", "DyT", "512x1024", "recipe: kd", "teacher: b2, 77.70 % mIoU", "labels at their orig"):
        assert words in text, words
    assert re.search(r"\| road \| 90\.12 \| 75\.00 \|", text)
    assert r"| pipe \| and \*star\* | – | – |" in text
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert str(tmp_path) not in text
    assert "/home/me" not in text


def test_a_model_that_was_not_evaluated_claims_nothing(tmp_path: Path) -> None:
    front, text = card(tmp_path, val=None)
    assert "model-index" not in front
    assert "was not evaluated" in text
    assert "mIoU" not in text
