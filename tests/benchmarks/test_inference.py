"""benchmarks/inference.py: its parts merge, its targets follow from medians, and the page says what the file says."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "inference.py"
RESULT = ROOT / "benchmarks" / "results" / "inference.json"


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return importlib.import_module(name)


def row(software: str, runtime: str, milliseconds: float, **fields: Any) -> dict[str, Any]:
    return {
        "name": f"{software} {runtime}", "software": software, "runtime": runtime, "precision": "float32",
        "output": "logits", "allocator": "tuned", "latency_ms": milliseconds, "label_agreement": 1.0,
        "operators": [{"type": "Convolution", "ms": 1.0, "share": 0.5}], **fields,
    }  # fmt: skip


def parts() -> dict[str, Any]:
    rows = [
        row("transformers", "torch", 600.0),
        row("transformers", "torch", 1000.0, allocator="default"),
        row("effiseg", "torch", 200.0),
        row("transformers", "openvino", 270.0),
        row("effiseg", "openvino", 200.0),
        row("effiseg", "openvino", 214.0, output="labels"),
        row("effiseg", "onnxruntime", 250.0),
    ]
    precise = [
        row("transformers", "torch", 600.0),
        row("effiseg", "openvino", 50.0, precision="int8", label_agreement=None),
        row("effiseg", "openvino", 75.0, precision="bfloat16", label_agreement=0.98),
    ]
    miou = {"torch float32": 60.0, "openvino float32": 60.0, "openvino bfloat16": 59.6, "openvino int8": 59.0}
    floors = {"float32 batch 1": {"arithmetic": 80.0}}
    b0 = {"rows": rows, "floors_ms": floors}
    return {"b0": b0, "b0_precision": {"rows": precise}, "accuracy": {"miou": miou, "skipped": {}}}


def test_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    module = script("inference_targets", monkeypatch)
    found = module.targets_of(parts())
    reached = [target["reached"] for target in found]
    assert reached == [3.0, None, 1.35, 5.0, 8.0, pytest.approx(1.07), 2.5]
    verdicts = [target["verdict"] for target in found]
    assert verdicts == ["met", "not measured", "missed", "met", "met", "met", "missed"]
    assert [bool(target["operators"]) for target in found] == [verdict == "missed" for verdict in verdicts]
    # int8 is faster, and loses a whole point.
    assert "openvino" in found[4]["by"]
    assert {target["verdict"] for target in module.targets_of({})} == {"not measured"}


def test_inexact_forms_are_not_the_fastest_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = parts()
    changed["b0"]["rows"][2]["label_agreement"] = changed["b0"]["rows"][4]["label_agreement"] = 0.9998
    fourth = script("inference_targets", monkeypatch).targets_of(changed)[3]
    assert (fourth["reached"], fourth["verdict"]) == (4.0, "missed")


def test_the_page_says_what_the_file_says(monkeypatch: pytest.MonkeyPatch) -> None:
    page = script("inference_page", monkeypatch)
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    text = page.PAGE.read_text(encoding="utf-8")
    assert text.count(page.BEGIN) == text.count(page.END) == 1
    assert text.partition(page.BEGIN)[2].partition(page.END)[0] == f"\n{page.markdown(result)}"
    assert result["targets"] == script("inference_targets", monkeypatch).targets_of(result["parts"])
    assert result["quick"] is False


@pytest.mark.heavy
def test_it_runs_and_keeps_the_parts_it_does_not_measure(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is what is measured against")
    for package in ("onnxruntime", "onnxscript", "openvino"):
        pytest.importorskip(package)
    out = tmp_path / "inference.json"
    out.write_text(json.dumps({"parts": {"b2": {"rows": []}}}), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--only", "b0", "--threads", "1", "--json", str(out)],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text(encoding="utf-8"))
    assert result["parts"]["b2"] == {"rows": []}
    part = result["parts"]["b0"]
    assert part["skipped"] == {}
    assert [entry["software"] for entry in part["rows"]].count("transformers") == 1
    assert all(len(entry["samples_ms"]) == 2 for entry in part["rows"])
    assert part["peaks"]["gflops"]["float32"]["matmul"] > 0
    floors = part["floors_ms"]["float32 batch 1"]
    assert 0 < floors["arithmetic"] <= floors["roofline"]
    assert result["targets"][0]["reached"] is not None
    assert result["targets"][4]["verdict"] == "not measured"


def test_mistakes_of_the_command_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--only", "b0,accuracy", "--json", str(tmp_path / "x.json")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "accuracy needs --model and --data" in done.stderr
    assert not (tmp_path / "x.json").exists()
