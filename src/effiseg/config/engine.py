"""The words for what runs a network, for the files it runs, for what it computes in and for what it answers with."""

from __future__ import annotations

from typing import Literal

EngineName = Literal["torch", "torch_compile", "onnxruntime", "openvino"]
"""What runs a network, `--engine`; what each can is said in `effiseg.engines`."""
ExportFormat = Literal["onnx", "openvino", "torch_export"]
"""What a network is written as, `--format`."""
Precision = Literal["float32", "float16", "bfloat16", "int8"]
"""What it computes in, `--precision`."""
Output = Literal["logits", "labels"]
"""What it answers with, `--output`: logits at a quarter of the input's size, or labels at its size."""
