"""Floors from rates that are given; the measured rates only have to be there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from effiseg.benchmark.complexity import count_macs, layers

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "floor.py"
sys.path.append(str(SCRIPT.parent))
from floor import best_peaks, deployed_layers, floors_ms  # noqa: E402

SIZE = (512, 1024)


def peaks(matmul: float, conv: float, depthwise: float, copy: float) -> dict[str, object]:
    rates = {"matmul": matmul, "conv": conv, "depthwise": depthwise}
    return {"device": "cpu", "threads": 1, "copy_gb_s": copy, "gflops": {"float32": rates}}


def test_the_measured_floor() -> None:
    # B0's 9.17 G true multiply-accumulates at 215 GFLOP/s: about 85 ms.
    floors = floors_ms("b0", 19, SIZE, peaks(200.0, 215.0, 28.0, 31.0), "float32")
    assert floors["arithmetic"] == pytest.approx(85.3, abs=0.5)
    macs = count_macs("b0", 19, SIZE)
    assert floors["arithmetic"] == pytest.approx(2 * (macs.composed + macs.attention_total) / 215e6)
    slow = sum(layer.macs for layer in layers("b0", 19, SIZE) if layer.kind == "depthwise")
    assert floors["by_kind"] - floors["arithmetic"] == pytest.approx(2 * slow * (1 / 28e6 - 1 / 215e6))
    assert floors["roofline"] > floors["arithmetic"]


def test_a_roofline_of_slow_memory_is_its_traffic() -> None:
    floors = floors_ms("b0", 19, SIZE, peaks(1e9, 1e9, 1e9, 1.0), "float32", batch_size=2)
    moved = sum(2 * layer.activations + layer.weights for layer in deployed_layers("b0", 19, SIZE))
    assert floors["roofline"] == pytest.approx(4 * moved / 1e6)


def test_the_best_of_two_measurements() -> None:
    best = best_peaks([peaks(1.0, 5.0, 3.0, 9.0), peaks(2.0, 4.0, 3.5, 8.0)])
    assert best["gflops"] == {"float32": {"matmul": 2.0, "conv": 5.0, "depthwise": 3.5}}
    assert best["copy_gb_s"] == 9.0


@pytest.mark.heavy
def test_the_machine_tells_its_rates() -> None:
    command = [sys.executable, str(SCRIPT), "cpu", "float32", "--threads", "1"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found["threads"] == 1
    assert found["copy_gb_s"] > 0
    assert all(rate > 0 for rate in found["gflops"]["float32"].values())
