"""int8: written, measured, and told apart from what stayed in float."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from effiseg.config.engine import ExportFormat
from effiseg.engines import load_exported


@pytest.mark.parametrize("file_format", ["onnx", pytest.param("openvino", marks=pytest.mark.heavy)])
def test_int8(file_format: ExportFormat, exported: Callable[..., Path], colour_data: Path) -> None:
    if file_format == "openvino":
        pytest.importorskip("nncf")
    path = exported(file_format, precision="int8", data=str(colour_data), calibration_images=4, evaluation_images=2)
    loaded = load_exported(path, threads=1)
    assert loaded.precision == "int8"
    assert loaded.record.input_size == (48, 64)
    report = json.loads(path.with_name(path.name + ".json").read_text())
    found = report["quantization"]
    assert found["calibration"] == {"data": "data", "split": "train", "images": 4, "image_size": [48, 64]}
    assert (found["split"], found["images"]) == ("val", 2)
    assert abs(found["miou"]["int8"] - found["miou"]["float32"]) < 10
    assert found["latency_ms"].keys() == {"float32", "int8"}
    assert sum(found["operators"]["int8"].values()) > 50
    attention = {"onnx": "Softmax", "openvino": "ScaledDotProductAttention"}[file_format]
    assert found["operators"]["float32"][attention] == 8
    assert report["bytes"] < 5e6
