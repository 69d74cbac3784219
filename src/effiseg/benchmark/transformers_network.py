"""The other side of `--against transformers`: the same weights in transformers' SegFormer, eager and exported."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effiseg.environment import require_package
from effiseg.errors import UsageError
from effiseg.inference.export_record import Output
from effiseg.inference.onnx_runtime import open_session
from effiseg.inference.openvino_runtime import compile_network, import_openvino, openvino_core

PURPOSE = "--against transformers"


class TransformersNetwork(nn.Module):
    """transformers' SegformerForSemanticSegmentation as a function from images to logits or labels.

    Args:
        source: a model folder that transformers can read.
        output: logits (B, K, H/4, W/4), or labels (B, H, W) int64, made as transformers' image processor makes
            them: one bilinear interpolation of the logits, then the best class of every pixel.

    Raises:
        UsageError: transformers is not installed.
    """

    def __init__(self, source: str, output: Output) -> None:
        super().__init__()
        library = import_transformers()
        self.network: Any = library.SegformerForSemanticSegmentation.from_pretrained(source).eval()
        self.output = output

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalized floats to what `output` says."""
        logits: Tensor = self.network(pixel_values=images).logits
        if self.output == "logits":
            return logits
        return F.interpolate(logits, size=images.shape[2:], mode="bilinear", align_corners=False).argmax(1)


def import_transformers() -> Any:
    """transformers, told to be quiet.

    Raises:
        UsageError: it is not installed.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        import transformers
    except ImportError:
        raise UsageError(f"{PURPOSE} needs it: pip install transformers") from None
    return transformers


def export_onnx(network: TransformersNetwork, images: Tensor, path: Path) -> None:
    """Write the network as torch exports it, for images of this size; weights inside the file."""
    require_package("onnxscript", "onnx", PURPOSE)
    torch.onnx.export(network, (images,), path, dynamo=True, external_data=False, input_names=["images"], verbose=False)


def export_openvino(network: TransformersNetwork, images: Tensor, path: Path) -> None:
    """Write the network as OpenVINO converts it, for images of this size; weights in float32."""
    openvino = import_openvino(PURPOSE)
    with torch.no_grad():
        converted = openvino.convert_model(network, example_input=images, input=[list(images.shape)])
    openvino.save_model(converted, path, compress_to_fp16=False)


def run_onnx(path: Path, array: np.ndarray[Any, Any], threads: int) -> Callable[[], Any]:
    """A pass of the file in ONNX Runtime, with the settings that our own files run under."""
    session = open_session(path, threads)
    return lambda: session.run(None, {"images": array})[0]


def run_openvino(path: Path, array: np.ndarray[Any, Any], threads: int, hint: str) -> Callable[[], Any]:
    """A pass of the file in OpenVINO, with the settings that our own files run under."""
    request = compile_network(openvino_core(PURPOSE).read_model(path), threads, hint).create_infer_request()

    def run() -> Any:
        request.infer([array], share_inputs=True)
        return np.array(request.get_output_tensor(0).data)

    return run
