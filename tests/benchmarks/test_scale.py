"""benchmarks/scale.py goes on where it was stopped, and docs/scale.md says what follows from what it measured."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("scale_page")


@pytest.fixture
def script(page: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    module = importlib.import_module("scale")
    monkeypatch.setattr(module, "keep_freed_memory", lambda: "default")  # these change the whole process
    monkeypatch.setattr(module.torch, "set_num_threads", lambda threads: None)
    monkeypatch.setattr(module.cv2, "setNumThreads", lambda threads: None)
    return module


FOUND: dict[str, Any] = {
    "reading": {
        "images": 100, "bytes": 300e3, "shards": 7, "per_core": {"files": 49.0, "shards": 50.0},
        "spread": {"files": [48.0, 51.0], "shards": [49.0, 52.0]},
    },
    "distilling": {"per_core": 2.5, "spread": [2.4, 2.6]},
    "labelling": {"per_core": {"1": 18.0, "4": 20.0, "16": 19.0}, "picture_bytes": 200e3, "label_bytes": 10e3},
    "actors": {
        "1": {"per_core": 19.0, "images_per_second": 18.0, "seconds": 20.0},
        "2": {"per_core": 19.0, "images_per_second": 34.2, "seconds": 15.0},
    },
    "memory": {
        "object_store_bytes": 2**30, "seconds": 90.0, "pictures": 3000,
        "at_a_third": {"pictures": [1000, 1300], "looks": 9, "bytes": 1000 * 2**20},
        "at_the_end": {"pictures": [2700, 3000], "looks": 9, "bytes": 1020 * 2**20},
    },
}  # fmt: skip


def test_costs_are_rates_times_prices(page: Any) -> None:
    cost = page.cost_of(7_200_000, 20.0)  # 360,000 core-seconds
    assert (cost.core_hours, cost.dollars) == (100.0, pytest.approx(100 * page.CORE_HOUR))
    room = page.storage_of(2_560_000, 200e3, 10e3)
    assert (room.picture_gigabytes, room.label_gigabytes) == (512.0, 25.6)
    assert room.month == pytest.approx(537.6 * page.GIGABYTE_MONTH)
    assert room.writes_as_files == pytest.approx(2.56 * page.MILLION_WRITES)
    assert room.writes_as_parts == pytest.approx(0.02 * page.MILLION_WRITES)


def test_the_page_says_what_follows(page: Any) -> None:
    settings = {"variant": "n", "teacher": "b1", "image_size": [192, 256], "pictures": 160}
    where = {"cpu": "a processor", "cores": 2, "packages": {"torch": "2"}}
    parts = {name: {"load": 0.5, "seconds": 1.0, **part} for name, part in FOUND.items()}
    text = page.markdown({"parts": parts, "settings": settings, "environment": where, "command": "python x"})
    for line in (
        "| 10 million | labelling | 139 | 0.01 | 6 |",  # at the best batch: 10⁷ / 20 / 3600
        "| 1 billion | distillation | 116,667 | 4.86 | 4,667 |",  # 0.4 s and 0.02 s of a core each
        "| 1 billion | 200,000 | 10,000 | 4,830 | 5,000.00 | 39.06 |",
        "2 actors label 1.90 times as fast as 1.",
        "1000 MiB between pictures 1000 and 1300, 1020 MiB between pictures 2700 and 3000, +2.0 %.",
        "read 4.00 MB/s: 1,000 cores read 4,000 MB/s",
    ):
        assert line in text, line
    few = page.markdown(
        {"parts": {"memory": parts["memory"]}, "settings": settings, "environment": where, "command": "x"}
    )
    assert "**Memory.**" in few
    assert "Costs" not in few


def test_the_documentation_shows_what_was_measured(page: Any) -> None:
    from doc_section import section

    assert section(page.PAGE, page.NAME) == "\n" + page.markdown(page.results())


def test_it_goes_on_where_it_was_stopped(script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []

    def part(name: str) -> Callable[[Any], dict[str, Any]]:
        def measure(place: Any) -> dict[str, Any]:
            if len(asked) == 3:
                raise KeyboardInterrupt
            asked.append(name)
            return FOUND[name]

        return measure

    monkeypatch.setattr(script, "PARTS", {name: part(name) for name in FOUND})
    out = tmp_path / "scale.json"
    command = ["--data", "camvid", "--json", str(out)]
    with pytest.raises(KeyboardInterrupt):
        script.main(command)
    assert asked == list(FOUND)[:3]
    assert list(json.loads(out.read_text())["parts"]) == asked
    asked.clear()
    script.main(command)
    assert asked == list(FOUND)[3:]
    asked.clear()
    script.main([*command, "--pictures", "9", "--parts", "memory"])  # other settings: nothing is kept
    assert list(json.loads(out.read_text())["parts"]) == asked == ["memory"]


def test_memory_is_compared_between_a_third_and_the_end(script: Any) -> None:
    steady = [(pictures, 100 + (pictures == 1000)) for pictures in range(0, 3000, 20)]
    found = script.summarized([*steady, (3000, 0)], 3000)  # the actors are gone at the end
    assert (found["at_a_third"]["bytes"], found["at_the_end"]["bytes"]) == (100, 100)
    growing = script.summarized([(pictures, 1000 + pictures) for pictures in range(0, 3000, 20)], 3000)
    assert growing["at_the_end"]["bytes"] - growing["at_a_third"]["bytes"] == 1700


def test_everything_is_measured_on_a_few_pictures(script: Any, colour_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    out = tmp_path / "scale.json"
    words = ["--data", str(colour_data), "--image_size", "32x64", "--teacher", "b0", "--images", "4", "--pictures", "4"]
    script.main([*words, "--rounds", "1", "--parts", "reading,distilling,labelling", "--json", str(out)])
    parts = json.loads(out.read_text())["parts"]
    assert parts["reading"]["images"] == 4
    assert parts["reading"]["per_core"].keys() == {"files", "shards"}
    assert parts["distilling"]["per_core"] > 0
    assert list(parts["labelling"]["per_core"]) == ["1", "4", "16"]


@pytest.mark.heavy
def test_a_cluster_is_measured(script: Any, colour_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setattr(script, "_POLL_SECONDS", 0.01)
    out = tmp_path / "scale.json"
    words = ["--data", str(colour_data), "--image_size", "32x64", "--pictures", "40", "--lake", "1500"]
    script.main([*words, "--parts", "actors,memory", "--json", str(out)])
    parts = json.loads(out.read_text())["parts"]
    assert all(parts["actors"][actors]["images_per_second"] > 0 for actors in ("1", "2"))
    assert parts["memory"]["at_the_end"]["looks"] > 0
