"""benchmarks/shape_search.py: its grid, its front, and a small run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from effiseg.models.shape import SHAPES


def test_the_grid_holds_the_named_sizes_and_no_shape_twice(script: Any) -> None:
    grid = script.grid()
    assert {name: grid[name] for name in ("n", "s", "b0")} == {name: SHAPES[name] for name in ("n", "s", "b0")}
    assert len(set(grid.values())) == len(grid) > 20


def test_the_front_has_what_nothing_as_large_undercuts_everywhere(script: Any) -> None:
    rows = [
        {"name": name, "gmacs": gmacs, "ratios": {"a": a, "b": b}}
        for name, gmacs, a, b in (("small", 1, 1, 1), ("slow", 1, 3, 3), ("large", 2, 2, 2), ("mixed", 1.5, 3, 1.5))
    ]
    script.mark_front(rows)
    assert {row["name"]: row["front"] for row in rows} == {"small": True, "slow": False, "large": True, "mixed": True}


@pytest.mark.heavy
def test_a_small_run(script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for engine in ("openvino", "onnx", "onnxruntime"):
        pytest.importorskip(engine, reason="the search times shapes in it")
    out = tmp_path / "shapes.json"
    options = ["--image_size", "64x96", "--threads", "1", "--seconds", "0", "--only", "no such shape"]
    script.main([*options, "--out", str(out)])
    found = json.loads(out.read_text())
    (row,) = found["rows"]
    assert (row["name"], row["front"], row["params_m"]) == ("n", True, pytest.approx(2.569, abs=1e-3))
    assert set(row["ratios"].values()) == {1.0}
    assert {len(samples) for samples in row["samples_ms"].values()} == {2}
    assert "openvino bfloat16 1.00" in capsys.readouterr().out
