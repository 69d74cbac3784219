"""OpenVINO IR: an .xml file and a .bin file with the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from effiseg.export.capture import capture, quiet
from effiseg.inference.export_record import INPUT_NAME, PREFIX, ExportRecord
from effiseg.inference.openvino_runtime import import_openvino


def convert(network: nn.Module, record: ExportRecord) -> Any:
    """`network` as an openvino.Model.

    Args:
        network: (B, H, W, 3) uint8 to logits or labels, on the CPU.
        record: names the sizes that it takes.

    Raises:
        UsageError: openvino is not installed.
    """
    openvino = import_openvino("export to OpenVINO")
    program = capture(network, record.input_size, record.batch_size)
    height, width = record.input_size or (-1, -1)
    with quiet():
        model = openvino.convert_model(program, input=[record.batch_size or -1, height, width, 3])
    model.inputs[0].set_names({INPUT_NAME})
    model.outputs[0].set_names({record.output})
    return model


def write_openvino(model: Any, path: Path, record: ExportRecord) -> None:
    """Write the .xml and the .bin beside it, with the record under rt_info/effiseg.

    Args:
        model: an openvino.Model.
        path: the .xml file.
        record: what is written into the file; weights of a bfloat16 one are stored as float16.

    Raises:
        UsageError: openvino is not installed.
    """
    openvino = import_openvino("export to OpenVINO")
    for name, text in record.to_properties().items():
        model.set_rt_info(text, [PREFIX, name])
    with quiet():
        openvino.save_model(model, path, compress_to_fp16=record.precision == "bfloat16")
