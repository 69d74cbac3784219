"""benchmarks/inference.py: its parts merge, its targets follow from medians, and the page says what the file says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "inference.py"
RESULT = ROOT / "benchmarks" / "results" / "inference.json"


def row(software: str, engine: str, milliseconds: float, **fields: Any) -> dict[str, Any]:
    return {
        "name": f"{software} {engine}", "software": software, "engine": engine, "precision": "float32",
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


def test_targets(load_script: Callable[[str], Any]) -> None:
    module = load_script("inference_targets")
    found = module.targets_of(parts())
    reached = [target["reached"] for target in found]
    assert reached == [3.0, None, 1.35, 5.0, 8.0, pytest.approx(1.07), 2.5]
    verdicts = [target["verdict"] for target in found]
    assert verdicts == ["met", "not measured", "missed", "met", "met", "met", "missed"]
    assert [bool(target["operators"]) for target in found] == [verdict == "missed" for verdict in verdicts]
    # int8 is faster, and loses a whole point.
    assert "openvino" in found[4]["by"]
    assert {target["verdict"] for target in module.targets_of({})} == {"not measured"}


def test_inexact_forms_are_not_the_fastest_exact_one(load_script: Callable[[str], Any]) -> None:
    changed = parts()
    changed["b0"]["rows"][2]["label_agreement"] = changed["b0"]["rows"][4]["label_agreement"] = 0.9998
    fourth = load_script("inference_targets").targets_of(changed)[3]
    assert (fourth["reached"], fourth["verdict"]) == (4.0, "missed")


def test_the_page_says_what_the_file_says(load_script: Callable[[str], Any]) -> None:
    page = load_script("inference_page")
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    assert load_script("doc_section").section(page.PAGE, "inference") == f"\n{page.markdown(result)}"
    assert result["targets"] == load_script("inference_targets").targets_of(result["parts"])
    assert result["quick"] is False


def test_the_gpu_part_beside_every_form_of_transformers(
    load_script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    inference, page = load_script("inference"), load_script("inference_page")
    speed = {"torch": 1.0, "torch_compile": 2.0}
    groups: list[set[int]] = []

    def timed(contenders: list[Any], setting: Any, schedule: Any) -> dict[str, Any]:
        rows = []
        for contender in contenders:
            assert (contender.device, contender.precision) == ("cuda", "bfloat16")
            milliseconds = contender.batch_size * (20 if contender.software == "transformers" else 10)
            milliseconds /= speed[contender.engine]
            made = contender.to_dict() | {"label_agreement": 1.0, "latency_ms": milliseconds}
            made |= {"fps": 1000 * contender.batch_size / milliseconds, "speedup": None, "file_mb": None}
            rows.append(made | {"p95_ms": milliseconds, "peak_memory_mib": 9.0, "name": contender.name})
        groups.append({contender.batch_size for contender in contenders})
        return {"rows": rows, "skipped": {}, "schedule": {"rounds": 1, "passes": 1}}

    class Floor:
        def __init__(self, *_: Any) -> None:
            pass

        def close(self, variant: str) -> dict[str, Any]:
            floors = {"arithmetic": 1.0, "by_kind": 1.0, "roofline": 2.0}
            rates = {"bfloat16": {"matmul": 1.0, "conv": 1.0, "depthwise": 1.0}}
            named = {f"bfloat16 batch {batch}": floors for batch in (1, 16)}
            return {"peaks": {"copy_gb_s": 1.0, "gflops": rates}, "floors_ms": named}

    monkeypatch.setattr(inference, "timed", timed)
    monkeypatch.setattr(inference, "Floor", Floor)
    part = inference.measure_part("gpu", inference.Setting(tmp_path, (64, 96), 1, True, None, ()))
    assert groups == [{1}, {16}]
    assert len({made["name"] for made in part["rows"]}) == len(part["rows"]) == 12
    text = "\n".join(page.part_lines("GPU", part | {"environment": {"gpus": ["a GPU"], "packages": {"torch": "2.11"}}}))
    assert "64×96, a GPU, torch 2.11" in text
    assert "Ours in torch_compile, batch 1: 4.00× transformers eager, 2.00× transformers compiled." in text
    assert "Ours in torch, batch 16: 2.00× transformers eager, 1.00× transformers compiled." in text
    compiled = next(line for line in text.splitlines() if "effiseg | torch_compile | bfloat16 | logits | 1 |" in line)
    assert compiled.endswith("| – | 2.50 |")


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
