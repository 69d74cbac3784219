"""`effiseg evaluate`: table, JSON, and one line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from effiseg.commands.evaluate import run
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.errors import DataError, EffisegError, ModelError, UsageError
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.results import EvaluationResult


@pytest.fixture(scope="module")
def data(colour_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The colours, with a fourth class that occurs nowhere."""
    path = tmp_path_factory.mktemp("four") / "four.yaml"
    path.write_text(f"path: {colour_data.parent}\nval: images/val\nnames: [grey, red, blue, 'never [x]']\n")
    return path


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = SegFormer("b0", 4)
    with torch.no_grad():
        assert model.decode_head.classifier.bias is not None
        model.decode_head.classifier.bias[3] = -1e4  # never predicted
    model.metadata = ModelMetadata(names=load_dataset_spec(data).names, image_size=(48, 64))
    folder = tmp_path_factory.mktemp("model") / "b0"
    save_pretrained(model, folder)
    return folder


def words(*arguments: object) -> list[str]:
    return [str(argument) for argument in arguments]


def test_a_model(data: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "deep" / "result.json"
    assert run(words(model, "--data", data, "--device", "cpu", "--workers", 0, "--json", file)) == 0
    out = capsys.readouterr().out
    value = json.loads(file.read_text())
    result = EvaluationResult.from_dict(value, file)
    assert (result.images, result.split, result.protocol, result.image_size) == (3, "val", "full", [48, 64])
    assert result.model == str(model)
    assert value["command"].startswith("effiseg evaluate ")
    assert value["environment"]["packages"]["torch"]
    assert result.class_iou["never [x]"] is None
    assert "full" in out
    assert "48x64" in out
    assert f"mIoU {result.miou:.2f} %" in out
    assert "never [x]" in out
    assert "absent" in out
    for name in ("grey", "red", "blue"):
        assert f"{result.class_iou[name]:.2f}" in out


def test_the_quarter_protocol_is_named(data: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--protocol", "quarter", "--image_size", "64x96", "--resize", "fixed")
    assert run(words(model, "--data", data, "--device", "cpu", "--workers", 0, *options)) == 0
    out = capsys.readouterr().out
    assert "quarter" in out
    assert "64x96 fixed" in out


def test_predictions(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks = load_dataset_spec(data).root / "labels" / "val"
    assert run(words("--predictions", masks, "--data", data, "--json", tmp_path / "r.json")) == 0
    assert "mIoU 100.00 %" in capsys.readouterr().out
    assert json.loads((tmp_path / "r.json").read_text())["class_iou"] == {
        "grey": 100, "red": 100, "blue": 100, "never [x]": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (["MODEL"], UsageError, "--data"),
        (["--data", "DATA"], UsageError, "either MODEL or --predictions DIR; found neither"),
        (["MODEL", "--predictions", "x", "--data", "DATA"], UsageError, "found both"),
        (["MODEL", "--data", "DATA", "--splitt", "val"], UsageError, "did you mean '--split'"),
        (["MODEL", "other", "--data", "DATA"], UsageError, "'other'"),
        (["MODEL", "--data", "DATA", "--image_size", "16x16"], UsageError, "at least 32x32"),
        (["MODEL", "--data", "DATA", "--image_size", "64x"], UsageError, "HEIGHTxWIDTH"),
        (["MODEL", "--data", "DATA", "--protocol", "half"], UsageError, "Got value: half"),
        (["MODEL", "--data", "DATA", "--batch_size", "0"], UsageError, "batch_size must be at least 1; found 0"),
        (["MODEL", "--data", "DATA", "--workers", "-1"], UsageError, "workers must be at least 0"),
        (["--predictions", "x", "--data", "DATA", "--protocol", "quarter"], UsageError, "--protocol"),
        (["MODEL", "--data", "no.yaml"], DataError, "no.yaml"),
        (["MODEL", "--data", "DATA", "--split", "test"], DataError, "'test'"),
        (["nowhere", "--data", "DATA"], ModelError, "nowhere: no such folder"),
        (["--predictions", "nowhere", "--data", "DATA"], DataError, "nowhere"),
    ],
)
def test_mistakes(data: Path, model: Path, arguments: list[str], kind: type[EffisegError], message: str) -> None:
    places = {"MODEL": str(model), "DATA": str(data)}
    with pytest.raises(kind) as caught:
        run([places.get(word, word) for word in arguments])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_classes(colour_data: Path, model: Path) -> None:
    with pytest.raises(ModelError, match=r"b0: .*it has 4, the data set .*data.yaml has 3"):
        run(words(model, "--data", colour_data, "--device", "cpu"))


def test_a_foreign_value_in_a_loader_process(data: Path, model: Path, tmp_path: Path) -> None:
    for kind, array in (
        ("images", np.zeros((40, 40, 3), np.uint8)),
        ("labels", np.full((40, 40), 9, np.uint8)),
    ):
        (tmp_path / kind).mkdir()
        Image.fromarray(array).save(tmp_path / kind / "bad.png")
    (tmp_path / "bad.yaml").write_text("val: images\nnames: [grey, red, blue, 'never [x]']\n")
    with pytest.raises(DataError, match=r"bad\.png") as caught:
        run(words(model, "--data", tmp_path / "bad.yaml", "--device", "cpu", "--workers", 1))
    assert "\n" not in str(caught.value)
