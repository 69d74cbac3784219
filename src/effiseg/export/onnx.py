"""ONNX: one file with its weights inside, in the form ONNX Runtime likes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from effiseg.environment import require_package
from effiseg.export.capture import AXES, capture, output_axes, quiet
from effiseg.inference.export_record import INPUT_NAME, PREFIX, ExportRecord
from effiseg.version import __version__

OPSET = 20
"""Has GELU and LayerNormalization as operators; ONNX Runtime reads it since 1.17."""


def write_onnx(network: nn.Module, path: Path, record: ExportRecord) -> None:
    """Write `network` as one ONNX file.

    Args:
        network: (B, H, W, 3) uint8 to logits or labels, on the CPU.
        path: the .onnx file.
        record: what is written into the file's metadata_props; it names the sizes that the file takes.

    Raises:
        UsageError: onnx or onnxscript is not installed.
    """
    onnx = require_package("onnx", "onnx", "export to ONNX")
    require_package("onnxscript", "onnx", "export to ONNX")
    program = capture(network, record.input_size, record.batch_size)
    with quiet():
        exported = torch.onnx.export(
            program, (), dynamo=True, opset_version=OPSET, input_names=[INPUT_NAME],
            output_names=[record.output], verbose=False,
        )  # fmt: skip
    assert exported is not None
    model = exported.model_proto
    _name_axes(model.graph, record)
    _strip(model.graph)
    write_properties(model, record)
    onnx.checker.check_model(model)
    onnx.save_model(model, path)


def write_properties(model: Any, record: ExportRecord) -> None:
    """Put the record into the model, in place of whatever properties it has."""
    model.producer_name, model.producer_version = "effiseg", __version__
    del model.metadata_props[:]
    for name, text in record.to_properties().items():
        model.metadata_props.add(key=f"{PREFIX}.{name}", value=text)


def _name_axes(graph: Any, record: ExportRecord) -> None:
    """Call the dynamic axes batch, height and width; the exporter calls them s77 and the like."""
    for value, names in (
        (graph.input[0], (*AXES, 3)),
        (graph.output[0], output_axes(record.output, record.metadata.num_classes)),
    ):
        for axis, name in zip(value.type.tensor_type.shape.dim, names, strict=True):
            if not axis.HasField("dim_value") and isinstance(name, str):
                axis.dim_param = name
    # The shapes of what lies between speak of the old names, and every engine infers them anew.
    del graph.value_info[:]


def _strip(graph: Any) -> None:
    """Drop the Python stack traces that the exporter leaves at every operator."""
    del graph.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        part.doc_string = ""
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]
