"""`effiseg inspect-norms`: files, verdict, and one line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from effiseg.commands.inspect_norms import run
from effiseg.errors import DataError, EffisegError, ModelError, UsageError
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes where the data set has three: inspection does not mind."""
    torch.manual_seed(0)
    model = SegFormer("b0", 2, patch_norm="dyt")
    model.metadata = ModelMetadata(names=("a", "b"), image_size=(32, 64))
    folder = tmp_path_factory.mktemp("model") / "b0"
    save_pretrained(model, folder)
    return folder


@pytest.mark.heavy
def test_the_files_and_the_verdict(
    model: Path, colour_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "norms"
    argv = [
        str(model),
        "--data",
        str(colour_data),
        "--out",
        str(out),
        "--images",
        "1",
        "--device",
        "cpu",
        "--seed",
        "4",
    ]
    assert run(argv) == 0
    shown = capsys.readouterr().out.splitlines()
    stored = json.loads((out / "norms.json").read_text())
    assert shown == [*stored["verdict"], f"table, figures and numbers: {out}"]
    assert (stored["model"], stored["images"], stored["split"], stored["seed"]) == (str(model), 1, "val", 4)
    assert stored["command"].startswith(f"effiseg inspect-norms {model} ")
    assert stored["environment"]["packages"]["torch"]
    names = {f"{name}.{form}" for name in ("scatter", "fits") for form in ("svg", "pdf", "png")}
    assert {path.name for path in out.iterdir()} == names | {"norms.json", "norms.md", "norms.csv"}
    assert "α learnt" in (out / "norms.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (["MODEL", "--data", "DATA"], UsageError, "--out"),
        (["MODEL", "--out", "OUT"], UsageError, "--data"),
        (["--data", "DATA", "--out", "OUT"], UsageError, "MODEL"),
        (["MODEL", "other", "--data", "DATA", "--out", "OUT"], UsageError, "one MODEL"),
        (
            ["MODEL", "--data", "DATA", "--out", "OUT", "--images", "0"],
            UsageError,
            "images must be at least 1",
        ),
        (["MODEL", "--data", "DATA", "--out", "OUT", "--image", "2"], UsageError, "did you mean"),
        (["MODEL", "--data", "DATA", "--out", "FULL"], UsageError, "found other files"),
        (["MODEL", "--data", "no.yaml", "--out", "OUT"], DataError, "no.yaml"),
        (["MODEL", "--data", "DATA", "--out", "OUT", "--split", "dev"], DataError, "'dev'"),
        (["nowhere", "--data", "DATA", "--out", "OUT"], ModelError, "nowhere: no such folder"),
        (["FILE", "--data", "DATA", "--out", "OUT"], UsageError, "give the model folder"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    model: Path, colour_data: Path, tmp_path: Path, arguments: list[str], kind: type[EffisegError], message: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "model.onnx").write_bytes(b"")
    places = {
        "MODEL": model, "DATA": colour_data, "OUT": tmp_path / "out", "FULL": tmp_path / "full",
        "FILE": tmp_path / "model.onnx",
    }  # fmt: skip
    with pytest.raises(kind) as caught:
        run([str(places.get(word, word)) for word in arguments])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
