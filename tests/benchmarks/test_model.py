"""benchmarks/model.py runs, and writes what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "model.py"


@pytest.mark.heavy
def test_the_side_by_side_measurement_runs_and_keeps_its_samples(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is what is measured against")
    out = tmp_path / "model.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--json", str(out)],
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert result["quick"] is True
    assert {"command", "allocator", "environment", "transformers"} <= result.keys()
    assert result["environment"]["threads"] >= 1
    for name in ("forward", "training_step"):
        samples = result[name]["samples_ms"]
        assert len(samples["effiseg"]) == len(samples["transformers"]) == 2
    losses = result["training_step"]["losses"]
    assert losses["effiseg"] == pytest.approx(losses["transformers"], rel=1e-3)
