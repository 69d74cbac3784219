"""benchmarks/quantization.py: it goes on where it was stopped, and its table says what its rows say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def script(script: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(script, "keep_freed_memory", lambda: "default")  # it changes the whole process
    return script


def rows(run: str, file_format: str) -> list[dict[str, Any]]:
    values = {"model": "SegFormer b0", "split": "val", "images": 3, "image_size": [64, 96], "bytes": 4_000_000}
    figures = {"miou": 50.0, "miou_change": -0.25, "latency_ms": 7.0}
    return [{"run": run, "format": file_format, "precision": "int8", **values, **figures}]


def test_it_goes_on_where_it_was_stopped(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, str]] = []

    def measure(run: str, file_format: str, options: Any, tell: Callable[[str], None]) -> list[dict[str, Any]]:
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append((run, file_format))
        tell("exporting int8")
        return rows(run, file_format)

    monkeypatch.setattr(script, "measure", measure)
    out = tmp_path / "quantization.json"
    command = ["runs/a", "runs/b", "--data", "camvid", "--json", str(out)]
    with pytest.raises(KeyboardInterrupt):
        script.main(command)
    assert asked == [("runs/a", "onnx"), ("runs/a", "openvino"), ("runs/b", "onnx")]
    assert len(json.loads(out.read_text())["rows"]) == 3
    asked.clear()
    script.main(command)
    assert asked == [("runs/b", "openvino")]
    assert "4/4 runs/b openvino: exporting int8" in capsys.readouterr().err
    assert len(json.loads(out.read_text())["rows"]) == 4
    asked.clear()
    script.main([*command[1:], "--image_size", "64x96", "--formats", "onnx"])  # other settings: nothing is kept
    assert asked == [("runs/b", "onnx")]
    assert len(json.loads(out.read_text())["rows"]) == 1


def test_the_table_says_what_the_rows_say(
    script: Any, load_script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = {
        "settings": {"data": "camvid"},
        "environment": {"cpu": "a CPU", "threads": 2},
        "rows": rows("r/a", "onnx"),
    }
    text = script.markdown(result)
    assert "3 images of camvid val at 64×96" in text
    assert "| a (b0) | onnx | int8 | 50.00 | -0.25 | 7.0 | 4.0 |" in text
    sections = load_script("doc_section")
    page = tmp_path / "page.md"
    begin, end = sections.marks("quantization")
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n", encoding="utf-8")
    sections.replace_section(page, "quantization", text)
    assert sections.section(page, "quantization") == f"\n{text}"
    assert page.read_text(encoding="utf-8").startswith("before\n")
    assert page.read_text(encoding="utf-8").endswith("\nafter\n")


def test_the_page_says_what_the_file_says(script: Any, load_script: Callable[[str], Any]) -> None:
    found = load_script("doc_section").section(script.PAGE, "quantization")
    if script.DEFAULT_JSON.is_file():
        assert found == "\n" + script.markdown(json.loads(script.DEFAULT_JSON.read_text(encoding="utf-8")))
    else:
        assert found == "\n"
