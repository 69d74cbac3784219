"""One model as one file, in the form that the format's engine likes."""

from __future__ import annotations

import contextlib
import os
from importlib import metadata as package_metadata
from pathlib import Path

from torch import nn

from effiseg.config.export import ExportFormat
from effiseg.export.onnx import write_onnx
from effiseg.export.openvino import convert, write_openvino
from effiseg.export.torch_export import write_torch_export
from effiseg.inference.export_record import ExportRecord, Output, Precision
from effiseg.models.fuse import fuse
from effiseg.models.segformer import SegFormer
from effiseg.version import __version__

_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf", "numpy")


def write_file(
    model: SegFormer,
    path: str | os.PathLike[str],
    file_format: ExportFormat,
    *,
    input_size: tuple[int, int] | None,
    batch_size: int | None = 1,
    half: bool = False,
    output: Output = "logits",
    source: str = "",
) -> ExportRecord:
    """Write a model in the deploy form that the format's engine likes, unchecked; `exporter.export_model` checks.

    Args:
        model: on any device.
        path: the file, with the format's suffix; overwritten.
        file_format: onnx, openvino or torch_export.
        input_size: (height, width); None: any from 64 on, and any batch.
        batch_size: images of one pass.
        half: float16 weights and arithmetic in ONNX; float16 weights and bfloat16 arithmetic in OpenVINO.
        output: logits at a quarter of the input's size, or labels at its size.
        source: where the model came from, for the record.

    Returns:
        What the file says of itself.

    Raises:
        UsageError: a package of the format is not installed.
    """
    file = Path(path)
    record = describe(
        model,
        precision=_precision(file_format, half),
        input_size=input_size,
        batch_size=batch_size,
        output=output,
        source=source,
    )
    network = deploy_form(model, file_format, output)
    match file_format:
        case "onnx":
            write_onnx(network.half() if half else network, file, record)
        case "openvino":
            write_openvino(convert(network, record), file, record)
        case "torch_export":
            write_torch_export(network, file, record)
    return record


def describe(
    model: SegFormer,
    *,
    precision: Precision,
    input_size: tuple[int, int] | None,
    batch_size: int | None = 1,
    output: Output = "logits",
    source: str = "",
) -> ExportRecord:
    """What a file of this model will say of itself; the arguments are those of `write_file`."""
    return ExportRecord(
        metadata=model.metadata,
        output=output,
        precision=precision,
        input_size=input_size,
        batch_size=None if input_size is None else batch_size,
        model=f"SegFormer {model.variant}, patch norm {model.patch_norm}, block norm {model.block_norm}",
        source=source,
        versions=_versions(),
    )


def deploy_form(model: SegFormer, file_format: ExportFormat, output: Output) -> nn.Module:
    """The fused network, (B, H, W, 3) uint8 in, written as the format's engine runs it fastest; on the CPU."""
    match file_format:
        case "onnx":
            fused = fuse(model, input="uint8", output=output, pointwise="conv", attention="matmul")
        case "openvino":
            fused = fuse(model, input="uint8", output=output, pointwise="linear", attention="sdpa", head="conv")
        case "torch_export":
            fused = fuse(model, input="uint8", output=output, pointwise="linear", attention="sdpa")
    return fused.cpu().float()


def _precision(file_format: ExportFormat, half: bool) -> Precision:
    if not half:
        return "float32"
    return "float16" if file_format == "onnx" else "bfloat16"


def _versions() -> dict[str, str]:
    """effiseg and whatever writes and runs the formats, as far as it is installed."""
    versions = {"effiseg": __version__}
    for package in _PACKAGES:
        with contextlib.suppress(package_metadata.PackageNotFoundError):
            versions[package] = package_metadata.version(package)
    return versions
