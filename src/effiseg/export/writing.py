"""One model as one file, in the form that the format's engine likes."""

from __future__ import annotations

import contextlib
import os
from importlib import metadata as package_metadata
from pathlib import Path

from effiseg.config.engine import Output, Precision
from effiseg.engines import FORMATS
from effiseg.engines.engine import FileFormat
from effiseg.engines.record import ExportRecord
from effiseg.models.segformer import SegFormer
from effiseg.version import __version__


def write_file(
    model: SegFormer,
    path: str | os.PathLike[str],
    file_format: FileFormat,
    *,
    input_size: tuple[int, int] | None,
    batch_size: int | None = 1,
    precision: Precision = "float32",
    output: Output = "logits",
    source: str = "",
    opset: int | None = None,
) -> ExportRecord:
    """Write a model in the deploy form that the format's engine likes, unchecked; `exporter.export_model` checks.

    Args:
        model: on any device.
        path: the file, with the format's suffix; overwritten.
        file_format: one of `effiseg.engines.FORMATS`.
        input_size: (height, width); None: any from the shape's `least_dynamic_side` on, and any batch.
        batch_size: images of one pass.
        precision: one of the format's, but not int8, see `quantization.quantize`.
        output: logits at a quarter or an eighth of the input's size, or labels at its size.
        source: where the model came from, for the record.
        opset: one of the format's sets of operators; None: its usual one.

    Returns:
        What the file says of itself.

    Raises:
        UsageError: a package of the format is not installed.
    """
    record = describe(
        model,
        precision=precision,
        input_size=input_size,
        batch_size=batch_size,
        output=output,
        source=source,
        opset=opset,
    )
    file_format.write(file_format.deploy_form(model, output), Path(path), record)
    return record


def describe(
    model: SegFormer,
    *,
    precision: Precision,
    input_size: tuple[int, int] | None,
    batch_size: int | None = 1,
    output: Output = "logits",
    source: str = "",
    opset: int | None = None,
) -> ExportRecord:
    """The record of a file of this model; the arguments are those of `write_file`."""
    return ExportRecord(
        metadata=model.metadata,
        output=output,
        precision=precision,
        input_size=input_size,
        output_stride=model.output_stride,
        least_side=model.shape.least_dynamic_side,
        batch_size=None if input_size is None else batch_size,
        model=f"SegFormer {model.variant}, patch norm {model.patch_norm}, block norm {model.block_norm}",
        source=source,
        opset=opset,
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    """effiseg and whatever writes and runs the formats, as far as it is installed."""
    versions = {"effiseg": __version__}
    packages = [package for file_format in FORMATS for package in file_format.packages]
    for package in ("torch", *packages, "numpy"):
        with contextlib.suppress(package_metadata.PackageNotFoundError):
            versions[package] = package_metadata.version(package)
    return versions
