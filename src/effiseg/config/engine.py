"""The words for what runs a network, for the files it runs, for what it computes in and for what it answers with."""

from __future__ import annotations

from typing import Literal

EngineName = Literal["torch", "torch_compile", "onnxruntime", "openvino", "ncnn", "litert", "executorch"]
"""Engines that run a network, `--engine`; `effiseg.engines` says what each can."""
ExportFormat = Literal["onnx", "openvino", "ncnn", "litert", "executorch", "torch_export"]
"""Formats that a network is written as, `--format`."""
ExportForm = Literal[ExportFormat, "web"]
"""What `--format` can say: a file of a format, or web, a folder that runs models in browsers."""
Precision = Literal["float32", "float16", "bfloat16", "int8"]
"""Number formats that it computes in, `--precision`."""
Output = Literal["logits", "labels"]
"""Forms of its answer, `--output`: logits at a quarter of the input's size (n and s: an
eighth), or labels at its size."""
