"""Exported files as callables: images in, logits or labels out, whatever engine runs them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from effiseg.errors import ModelError
from effiseg.inference.export_record import ExportRecord, Precision
from effiseg.models.metadata import ModelMetadata

Runtime = Literal["torch", "torch_compile", "onnxruntime", "openvino"]
Images = npt.NDArray[np.uint8] | torch.Tensor
Answer = npt.NDArray[Any]


class LoadedModel(Protocol):
    """A network that an engine has loaded."""

    record: ExportRecord
    """What the file says of itself: metadata, output, input size."""
    precision: Precision
    """What it computes in here; bfloat16 is float32 where the processor has no instructions for it."""
    runtime: Runtime
    """The engine."""
    path: Path
    """The file."""

    @property
    def metadata(self) -> ModelMetadata:
        """Classes, colours and input size: the record's."""

    def __call__(self, images: Images) -> Answer:
        """Run the network.

        Args:
            images: (B, H, W, 3) uint8 RGB, an array or a tensor on the CPU.

        Returns:
            Logits (B, K, ⌈H/4⌉, ⌈W/4⌉) float32 or labels (B, H, W) uint8, as `record.output` says; memory of
            its own.

        Raises:
            ModelError: the images do not have the form or the size that the file takes.
        """

    def close(self) -> None:
        """Give the engine's memory back; the model cannot be called any more."""


def load_exported(
    path: str | os.PathLike[str], *, threads: int | None = None, precision: Precision | None = None
) -> LoadedModel:
    """Load a file that `effiseg export` wrote; nothing in it is executed but the network.

    Args:
        path: .onnx (ONNX Runtime) or .xml (OpenVINO; its .bin lies beside it).
        threads: threads of the engine; default: torch's number.
        precision: what an OpenVINO file computes in, float32 or bfloat16; default: what the file says. Other
            files have their precision in their operators.

    Raises:
        ModelError: no such file, not a file of `effiseg export`, or the engine cannot read it.
        UsageError: the engine is not installed, or `precision` is not the file's to choose.
    """
    file = Path(path)
    if not file.is_file():
        raise ModelError(f"{path}: no such file")
    count = threads or torch.get_num_threads()
    match file.suffix.lower():
        case ".onnx":
            from effiseg.inference.onnx_runtime import OnnxRuntimeModel

            return OnnxRuntimeModel(file, threads=count, precision=precision)
        case ".xml":
            from effiseg.inference.openvino_runtime import OpenVinoModel

            return OpenVinoModel(file, threads=count, precision=precision)
        case _:
            raise ModelError(f"{path}: a model file ends in .onnx or .xml; found {file.suffix or 'no suffix'}")


def as_images(images: Images, record: ExportRecord, source: Path) -> npt.NDArray[np.uint8]:
    """The images as a contiguous array, checked against what the file takes.

    Raises:
        ModelError: another form, type or size.
    """
    array = images.cpu().numpy() if isinstance(images, torch.Tensor) else images
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
        raise ModelError(f"{source}: images must be uint8 (B, H, W, 3); found {array.dtype} {array.shape}")
    if record.input_size is not None and tuple(array.shape[1:3]) != record.input_size:
        height, width = record.input_size
        raise ModelError(
            f"{source}: was exported for images of {height}x{width}; found {array.shape[1]}x{array.shape[2]}; "
            "export it with --dynamic to take any size"
        )
    return np.ascontiguousarray(array)


def in_batches(array: npt.NDArray[np.uint8], size: int | None) -> list[npt.NDArray[np.uint8]]:
    """The images in groups of `size`, the file's own batch; the last is filled up with zeros. None: all at once."""
    if size is None or len(array) == size:
        return [array]
    groups = [array[start : start + size] for start in range(0, len(array), size)]
    missing = size - len(groups[-1])
    if missing:
        filling = np.zeros((missing, *array.shape[1:]), np.uint8)
        groups[-1] = np.concatenate([groups[-1], filling])
    return groups
