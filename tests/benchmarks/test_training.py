"""benchmarks/training.py runs, keeps what it measured, and the documentation shows exactly that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "training.py"
RESULTS = ROOT / "benchmarks" / "results" / "training.json"
PAGE = ROOT / "docs" / "performance" / "training.md"


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    pytest.importorskip("transformers", reason="transformers is what is measured against")
    out = tmp_path_factory.mktemp("training") / "training.json"
    run("--quick", "--allocator", "tuned", "--json", str(out))
    return out, json.loads(out.read_text())


@pytest.mark.heavy
def test_both_sides_take_equal_steps(quick: tuple[Path, dict[str, Any]]) -> None:
    step = quick[1]["step"]["64x128"]["tuned"]
    assert step["equal_losses"]["effiseg"] == pytest.approx(step["equal_losses"]["transformers"], rel=1e-3)
    assert {name: len(samples) for name, samples in step["samples_ms"].items()} == {"effiseg": 2, "transformers": 2}
    assert step["speedup"] == pytest.approx(step["transformers_ms"] / step["effiseg_ms"])
    for side in ("effiseg", "transformers"):
        operators = step["operators"][side]
        assert 5 <= len(operators) <= 15
        assert [row["ms"] for row in operators] == sorted((row["ms"] for row in operators), reverse=True)
        assert 0.5 < sum(row["share"] for row in operators) <= 1 + 1e-6


@pytest.mark.heavy
def test_end_to_end_counts_later_epochs_of_real_runs(quick: tuple[Path, dict[str, Any]]) -> None:
    found = quick[1]["end_to_end"]["64x128"]["tuned"]
    (only,) = found["samples"]["effiseg"]
    assert [row["epoch"] for row in only["rows"]] == [1, 2, 3]
    assert found["images_per_second"]["effiseg"] == only["rows"][1]["images_per_second"]
    assert found["first_epoch_images_per_second"]["effiseg"] == only["rows"][0]["images_per_second"]
    (epoch,) = found["samples"]["transformers workers"]
    assert epoch["images"] == 4
    for phases in found["phases_ms"].values():
        assert phases.keys() == {"data", "forward", "loss", "backward", "optimizer"}
        assert min(phases.values()) >= 0
    assert quick[1]["data"]["decode_image_pillow_ms"] > 0


@pytest.mark.heavy
def test_memory_distillation_and_roofline_are_of_both_sides(quick: tuple[Path, dict[str, Any]]) -> None:
    result = quick[1]
    memory = result["memory"]["64x128"]["tuned"]
    assert memory["transformers"]["peak_mib"] > 1
    assert memory["ratio"] == pytest.approx(memory["effiseg"]["peak_mib"] / memory["transformers"]["peak_mib"])
    assert result["distillation"]["64x128"]["tuned"]["ratio"] > 1
    roofline = result["roofline"]["64x128"]
    assert roofline["effiseg"]["gflop"] < roofline["transformers"]["gflop"]
    assert roofline["effiseg"]["over_roofline"] > 1


@pytest.mark.heavy
def test_targets_say_whether_they_are_met(quick: tuple[Path, dict[str, Any]]) -> None:
    rows = {row["what"]: row for row in quick[1]["targets"]}
    assert rows.keys() == {"training step", "end to end", "distillation step", "peak memory"}
    for row in rows.values():
        better = row["reached"] <= row["target"] if row["at_most"] else row["reached"] >= row["target"]
        assert row["met"] is better
    assert rows["training step"]["reached"] == quick[1]["step"]["64x128"]["tuned"]["speedup"]
    assert rows["peak memory"]["at_most"] is True


@pytest.mark.heavy
def test_a_part_measured_again_leaves_the_others(quick: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out = tmp_path / "training.json"
    out.write_text(quick[0].read_text())
    table = run("--quick", "--allocator", "tuned", "--only", "distillation", "--json", str(out))
    again = json.loads(out.read_text())
    assert again["end_to_end"] == quick[1]["end_to_end"]
    assert again["commands"]["distillation 64x128"] != quick[1]["commands"]["distillation 64x128"]
    assert run("--markdown", "--json", str(out)).strip() in table
    other = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--variant", "b1", "--only", "memory", "--json", str(out)],
        capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert other.returncode == 1
    assert "was measured with other variant" in other.stderr


def test_a_measurement_of_its_own_process_forks_loader_workers_as_users_do() -> None:
    code = (
        "import multiprocessing, sys; sys.path.insert(0, sys.argv[1]); from side_by_side import run_alone; "
        "print(multiprocessing.get_start_method(), "
        "run_alone(eval, '__import__(\"multiprocessing\").get_start_method()'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(SCRIPT.parent)], capture_output=True, text=True, timeout=280, check=True
    )
    usual, alone = done.stdout.split()
    assert alone == usual


@pytest.mark.heavy
def test_the_page_shows_what_was_measured() -> None:
    table = run("--markdown", "--json", str(RESULTS)).strip()
    assert table in PAGE.read_text(encoding="utf-8")
