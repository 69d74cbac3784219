"""benchmarks/peer.py: files in, medians and their ratios to the peer's out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def test_ratios_are_those_of_medians_in_the_same_engine(script: Any) -> None:
    times = {
        ("openvino float32", "n"): [3.0, 2.0, 100.0],
        ("openvino float32", "yolo26n-sem"): [4.0, 4.0, 1.0],
        ("onnxruntime float32", "n"): [8.0],
        ("onnxruntime float32", "yolo26n-sem"): [4.0],
    }
    rows = {(row["engine"], row["model"]): row for row in script.as_rows(times, (64, 96), "logits")}
    assert rows["openvino float32", "n"]["ms"] == 3.0
    assert rows["openvino float32", "n"]["ratio"] == 0.75
    assert rows["onnxruntime float32", "n"]["ratio"] == 2.0
    assert rows["onnxruntime float32", "yolo26n-sem"]["ratio"] == 1.0


@pytest.mark.heavy
def test_without_the_peer_there_are_no_ratios(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(script, "VARIANTS", ("n",))
    monkeypatch.setattr(script, "OUTPUTS", ("logits",))
    script.main(["--quick", "--threads", "1", "--json", str(tmp_path / "peer.json")])
    rows = json.loads((tmp_path / "peer.json").read_text())["rows"]
    assert {(row["engine"], row["ratio"]) for row in rows} == {
        (engine, None) for engine in ("openvino float32", "openvino bfloat16", "onnxruntime float32")
    }
    assert "of the peer" not in capsys.readouterr().out
