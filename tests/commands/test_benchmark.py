"""`effiseg benchmark`: what it prints and writes, and one line for every mistake. No test looks at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from effiseg.cli import main
from effiseg.commands.benchmark import conditions, parse, run
from effiseg.errors import EffisegError, ModelError, UsageError
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.results import BenchmarkResult

FEW = ("--image_size", "64x96", "--device", "cpu", "--threads", "1", "--rounds", "2", "--passes", "2", "--warmup", "1")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "b0"
    torch.manual_seed(0)
    network = SegFormer("b0", 4)
    torch.nn.init.normal_(network.decode_head.classifier.weight)
    save_pretrained(network, folder)
    return str(folder)


def test_against_transformers(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers", reason="transformers is what is measured against")
    file = tmp_path / "b.json"
    assert run([model, *FEW, "--against", "transformers", "--json", str(file)]) == 0
    value = json.loads(file.read_text(encoding="utf-8"))
    result = BenchmarkResult.from_dict(value, file)
    ours, theirs = result.rows
    assert (ours.software, theirs.software) == ("effiseg", "transformers")
    assert ours.counterpart == theirs.name
    assert ours.speedup == pytest.approx(theirs.latency_ms / ours.latency_ms)
    assert [len(row.samples_ms) for row in result.rows] == [4, 4]
    assert value["command"].startswith("effiseg benchmark ")
    assert value["environment"]["packages"]["torch"]
    assert result.schedule == {"rounds": 2, "passes": 2, "warmup": 1}
    out = capsys.readouterr().out
    for part in ("× trans-", f"{ours.latency_ms:.1f}", f"{theirs.fps:.2f}", "100.000"):
        assert part in out
    assert max(map(len, out.splitlines())) <= 100
    assert " ".join(conditions(result).split()) in " ".join(out.split())
    assert "64x96, batch 1" in out
    assert ", 1 threads, allocator " in " ".join(out.split())


@pytest.mark.heavy
def test_a_file_is_compared_with_the_model_it_was_made_of(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers", reason="transformers is what is measured against")
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is the engine")
    file = tmp_path / "model.onnx"
    assert main(["export", model, "--out", str(file), "--image_size", "64x96"]) == 0
    capsys.readouterr()
    assert run([model, str(file), *FEW, "--against", "transformers", "--json", str(tmp_path / "b.json")]) == 0
    result = BenchmarkResult.from_dict(json.loads((tmp_path / "b.json").read_text(encoding="utf-8")))
    assert [(row.software, row.engine) for row in result.rows] == [
        ("effiseg", "torch"), ("transformers", "torch"), ("effiseg", "onnxruntime"), ("transformers", "onnxruntime"),
    ]  # fmt: skip
    assert [row.counterpart is not None for row in result.rows] == [True, False, True, False]


@pytest.mark.heavy
def test_norms_that_transformers_lacks_are_compared_with_its_own_of_the_same_shape(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers", reason="transformers is what is measured against")
    save_pretrained(SegFormer("b0", 4, patch_norm="dyt", block_norm="dyl"), tmp_path / "tanh")
    file = tmp_path / "b.json"
    assert run([str(tmp_path / "tanh"), *FEW, "--against", "transformers", "--json", str(file)]) == 0
    ours, theirs = BenchmarkResult.from_dict(json.loads(file.read_text(encoding="utf-8"))).rows
    assert (theirs.form, theirs.label_agreement, ours.counterpart) == ("same_shape", None, theirs.name)
    assert "(another function: LayerNorms)" in theirs.name
    assert "(another" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ([], UsageError, "MODEL"),
        (["nowhere"], ModelError, "nowhere: no such folder"),
        (["no.onnx"], ModelError, "no.onnx: no such file"),
        (["MODEL", "--engine", "torch,tensorrt"], UsageError, "Got value: tensorrt"),
        (["MODEL", "--precision", "fp8"], UsageError, "Got value: fp8"),
        (["MODEL", "--precision", "int8"], UsageError, "effiseg export --precision int8"),
        (["MODEL", "--precision", "bfloat16", "--engine", "onnxruntime"], UsageError, "no bfloat16"),
        (["MODEL", "--image_size", "16x16"], UsageError, "at least 32x32"),
        (["MODEL", "--threads", "0"], UsageError, "threads must be at least 1; found 0"),
        (["MODEL", "--against", "mmseg"], UsageError, "Got value: mmseg"),
        (["SMALL", "--against", "transformers"], UsageError, "there is nothing to compare with: "),
        (["MODEL", "--engines", "torch"], UsageError, "did you mean '--engine'"),
        (["MODEL", "MODEL"], UsageError, "asked for twice"),
    ],
)
def test_mistakes(model: str, arguments: list[str], kind: type[EffisegError], message: str, tmp_path: Path) -> None:
    if "SMALL" in arguments:
        save_pretrained(SegFormer("n", 4), tmp_path / "n")
    words = {"MODEL": model, "SMALL": str(tmp_path / "n")}
    with pytest.raises(kind) as caught:
        run([*(words.get(word, word) for word in arguments), "--device", "cpu"])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lists_name_each_once() -> None:
    options = parse(["a", "--engine", "openvino, torch,openvino", "--precision", "float32,bfloat16"])
    assert options.engine == ["openvino", "torch"]
    assert options.precision == ["float32", "bfloat16"]
    assert options.image_size == (512, 1024)


def test_former_words_are_understood_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    options = parse(["a", "--runtime=openvino", "--precision", "fp32,bfloat16"])
    assert (options.engine, options.precision) == (["openvino"], ["float32", "bfloat16"])
    assert capsys.readouterr().err.splitlines() == [
        "effiseg benchmark: --runtime is now --engine",
        "effiseg benchmark: --precision fp32 is now --precision float32",
    ]
