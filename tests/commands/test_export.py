"""`effiseg export`, and exported files where a MODEL is asked for."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from effiseg.commands.evaluate import run as evaluate
from effiseg.commands.export import parse
from effiseg.commands.export import run as export
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.engines import load_exported
from effiseg.errors import EffisegError, ModelError, UsageError
from effiseg.evaluation.evaluator import evaluate as score
from effiseg.inference.framing import Framing
from effiseg.inference.network import load_network, trained_network
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import from_pretrained, save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.run_folder import resolve_model


@pytest.fixture(scope="module")
def folder(colour_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    torch.manual_seed(0)
    model = SegFormer("b0", 3)
    model.metadata = ModelMetadata(names=load_dataset_spec(colour_data).names, image_size=(64, 96))
    path = tmp_path_factory.mktemp("commands") / "b0"
    save_pretrained(model, path)
    return path


@pytest.fixture(scope="module")
def onnx_file(folder: Path) -> Path:
    pytest.importorskip("onnxruntime")
    out = folder.parent / "b0.onnx"
    assert export([str(folder), "--format", "onnx", "--out", str(out)]) == 0
    return out


def test_the_command_prints_what_it_checked(
    folder: Path, colour_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openvino")
    out = tmp_path / "deep" / "b0.xml"
    words = [str(folder), "--format", "openvino", "--out", str(out), "--output", "labels", "--data", str(colour_data)]
    assert export(words) == 0
    printed, complaints = capfd.readouterr()
    assert "SegFormer b0, patch norm layer_norm, block norm layer_norm, 64x96, labels, float32" in printed
    assert "checked at 64x96 on 3 images (data val): 100.000 % of the labels equal the model's" in printed
    assert f"report: {out}.json" in printed
    assert printed.count("\n") == 3
    assert complaints == ""


def test_a_file_scores_as_its_model(folder: Path, onnx_file: Path, colour_data: Path) -> None:
    spec = load_dataset_spec(colour_data)
    model = score(trained_network(from_pretrained(folder)), Framing(), spec, "val")
    network = load_network(onnx_file)
    file = score(network, Framing(batch_size=2), spec, "val")
    assert file.confusion == model.confusion
    assert (file.image_size, file.resize, file.images) == (model.image_size, model.resize, model.images)
    assert (model.form, file.form) == ("as trained", "onnxruntime")
    assert score(network, Framing(), spec, "val", most_images=2).images == 2


def test_evaluate_takes_the_file(onnx_file: Path, colour_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = [str(onnx_file), "--data", str(colour_data), "--workers", "0"]
    assert evaluate(common) == 0
    assert "input 64x96 keep_ratio" in capsys.readouterr().out
    for extra, message in (
        (["--image_size", "64x64"], "--image_size must be the file's own, 64x96"),
        (["--device", "cuda"], "runs on the CPU here"),
    ):
        with pytest.raises(UsageError, match=message):
            evaluate([*common, *extra])


def test_an_exported_file_is_not_exported_again(onnx_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is an exported file already"):
        export([str(onnx_file), "--format", "onnx", "--out", str(tmp_path / "a.onnx")])


def test_a_stranger_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    file = tmp_path / "other.onnx"
    file.write_bytes(b"not a network")
    assert resolve_model(file) == str(file)
    with pytest.raises(ModelError, match=r"other\.onnx: ONNX Runtime cannot load it") as caught:
        load_exported(file)
    assert "\n" not in str(caught.value)


def test_a_pt2_is_never_opened(tmp_path: Path) -> None:
    file = tmp_path / "model.pt2"
    file.write_bytes(b"")
    with pytest.raises(ModelError, match=r"a \.pt2 file is never opened, loading one can run code"):
        resolve_model(file)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "onnx", "--out", "m.xml"], r"--out must end in \.onnx for --format onnx; found m\.xml"),
        (["--format", "coreml", "--out", "m.x"], "--format: Expected one of .* Got value: coreml"),
        (["--format", "onnx", "--out", "m.onnx", "--dynamic", "--image_size", "64x64"], "found both"),
        (["--format", "onnx", "--out", "m.onnx", "--half", "--int8", "--data", "d"], "found both"),
        (
            ["--format", "onnx", "--out", "m.onnx", "--precision", "int8"],
            "--precision int8 needs images to calibrate on; add",
        ),
        (["--format", "torch_export", "--out", "m.pt2", "--half"], "--half is for --format onnx and openvino"),
        (
            ["--out", "m.pt2", "--precision", "int8", "--data", "d"],
            "--precision int8 is for --format onnx and openvino",
        ),
        (["--out", "m.onnx", "--precision", "bfloat16"], "is for --format openvino; found onnx, which has float32, fl"),
        (
            ["--out", "m.mlmodel"],
            r"\.onnx, \.xml, \.param, \.tflite, \.pte, \.pt2, which says the format; found m\.m",
        ),
        (["--format", "onnx", "--out", "m.onnx", "--data_root", "d"], "--data_root concerns --data"),
        (["--format", "onnx"], "--out"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse(["model", *words])
    assert "\n" not in str(caught.value)


def test_a_size_is_needed(folder: Path, tmp_path: Path) -> None:
    model = from_pretrained(folder)
    model.metadata = ModelMetadata.unnamed(3)
    save_pretrained(model, tmp_path / "bare")
    with pytest.raises(EffisegError, match=r"bare: does not say its input size; give --image_size HEIGHTxWIDTH or"):
        export([str(tmp_path / "bare"), "--format", "onnx", "--out", str(tmp_path / "m.onnx")])
    assert [path.name for path in tmp_path.iterdir()] == ["bare"]


@pytest.mark.parametrize(
    ("file_format", "suffix", "package", "extra"),
    [
        ("onnx", ".onnx", "onnx", "onnx"),
        ("onnx", ".onnx", "onnxscript", "onnx"),
        ("openvino", ".xml", "openvino", "openvino"),
    ],
)
def test_a_missing_package_is_named(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file_format: str,
    suffix: str,
    package: str,
    extra: str,
) -> None:
    original: Callable[..., ModuleSpec | None] = importlib.util.find_spec
    monkeypatch.setattr(
        "effiseg.environment.find_spec", lambda name, *rest: None if name == package else original(name, *rest)
    )
    with pytest.raises(UsageError, match=rf"needs the package {package}.*pip install .*\[{file_format}\]'"):
        export([str(folder), "--format", file_format, "--out", str(tmp_path / f"m{suffix}")])
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_reported_to_anybody() -> None:
    pytest.importorskip("openvino")
    code = (
        "from effiseg.engines.openvino import import_openvino; import_openvino('x'); import sys; "
        "import openvino.tools.ovc.telemetry_utils as t; assert 'stub' in t.tm.__name__, t.tm; "
        "assert sys.modules['openvino_telemetry'] is None"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "precision"),
    [
        (["--out", "m.onnx", "--half"], "float16"),
        (["--format", "openvino", "--half", "--out=m.xml"], "bfloat16"),
        (["--out", "m.xml", "--int8", "--data", "d"], "int8"),
    ],
)
def test_former_words_are_understood_with_a_line(
    words: list[str], precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parse(["model", *words]).precision == precision
    old = "--int8" if "--int8" in words else "--half"
    assert capsys.readouterr().err == f"effiseg export: {old} is now --precision {precision}\n"
