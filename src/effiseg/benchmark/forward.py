"""From a contender to a callable that does one pass, and to the files that engines open."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from effiseg.benchmark.contender import Contender
from effiseg.inference.export_record import Precision
from effiseg.models.fuse import fuse, torch_form
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import from_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.scenes.synthetic import draw_scene, scene_rng

DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16,
}  # fmt: skip


@dataclass(frozen=True)
class Forward:
    """A network that is loaded and has its input."""

    run: Callable[[], Any]
    """One pass; logits or labels, a tensor or an array. On a GPU it may return before the work is done."""
    params: int | None
    """Numbers that inference reads from the weights; None where only a file is known."""
    file: Path | None
    """The file an engine opened."""


def load(contender: Contender) -> Forward:
    """Load a contender's network and its input.

    Raises:
        ModelError, UsageError: it cannot be loaded, in one line.
    """
    match contender.runtime:
        case "torch" | "torch_compile":
            return _load_torch(contender)
        case "onnxruntime" | "openvino":
            return _load_file(contender)


def write_file(contender: Contender, path: Path) -> None:
    """Write the file that the contender's engine will open.

    Raises:
        ModelError, UsageError: the network cannot be exported, in one line.
    """
    if contender.software == "transformers":
        from effiseg.benchmark import transformers_network as theirs

        network = theirs.TransformersNetwork(contender.source, contender.output)
        images = _normalized(contender, _metadata(contender))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            export = theirs.export_onnx if contender.runtime == "onnxruntime" else theirs.export_openvino
            export(network, images, path)
        return
    from effiseg.export import writing

    writing.write_file(
        from_pretrained(contender.source),
        path,
        "onnx" if contender.runtime == "onnxruntime" else "openvino",
        input_size=contender.image_size,
        batch_size=contender.batch_size,
        half=contender.precision != "float32",
        output=contender.output,
        source=contender.source,
    )


def street_images(contender: Contender) -> Tensor:
    """What every contender is shown: (B, H, W, 3) uint8 RGB, one embedded street scene, the same for all."""
    image, _ = draw_scene(scene_rng(0, "test", 0), *contender.image_size)
    return torch.from_numpy(image)[None].repeat(contender.batch_size, 1, 1, 1)


def input_array(contender: Contender) -> np.ndarray[Any, Any]:
    """What the contender's file takes: our files uint8 (B, H, W, 3), transformers' normalized (B, 3, H, W)."""
    if contender.software == "effiseg":
        return street_images(contender).numpy()
    return _normalized(contender, _metadata(contender)).contiguous().numpy()


def _load_torch(contender: Contender) -> Forward:
    network = _network(contender)
    params = sum(parameter.numel() for parameter in network.parameters())
    params += sum(buffer.numel() for buffer in network.buffers() if contender.form == "fused")
    network = network.to(contender.device, DTYPES[contender.precision])
    images = _normalized(contender, _metadata(contender))
    # transformers computes in the layout that its image processor gives, effiseg in channels_last.
    layout = torch.contiguous_format if contender.software == "transformers" else torch.channels_last
    images = images.to(contender.device, DTYPES[contender.precision]).contiguous(memory_format=layout)
    call: Callable[[Tensor], Tensor] = network
    if contender.runtime != "torch":
        call = torch.compile(network)

    def run() -> Tensor:
        with torch.inference_mode():
            return call(images)

    return Forward(run, params, None)


def _load_file(contender: Contender) -> Forward:
    assert contender.file is not None, contender
    file = Path(contender.file)
    if contender.software == "transformers":
        from effiseg.benchmark import transformers_network as theirs

        array = input_array(contender)
        if contender.runtime == "onnxruntime":
            run = theirs.run_onnx(file, array, contender.threads)
        else:
            run = theirs.run_openvino(file, array, contender.threads, openvino_hint(contender))
        return Forward(run, None, file)
    from effiseg.inference.runtimes import load_exported

    precision = contender.precision if contender.runtime == "openvino" else None
    model = load_exported(file, threads=contender.threads, precision=precision)
    images = street_images(contender).numpy()
    return Forward(lambda: model(images), None, file)


def openvino_hint(contender: Contender) -> str:
    """What OpenVINO is told to compute its float operators in."""
    return "bf16" if contender.precision == "bfloat16" else "f32"


def _network(contender: Contender) -> nn.Module:
    match contender.form:
        case "published":
            from effiseg.benchmark.transformers_network import TransformersNetwork

            return TransformersNetwork(contender.source, contender.output)
        case "fused":
            form = torch_form(contender.device, compiled=contender.runtime != "torch")
            return fuse(from_pretrained(contender.source), output=contender.output, pointwise=form)
        case "trained":
            model: SegFormer = from_pretrained(contender.source)
            assert contender.output == "logits", "the label map is part of the deploy form"
            return model
        case "file":
            raise AssertionError(contender)


def _metadata(contender: Contender) -> ModelMetadata:
    return from_pretrained(contender.source).metadata


def _normalized(contender: Contender, metadata: ModelMetadata) -> Tensor:
    """(B, 3, H, W) float32, what a network without its own normalization takes."""
    return metadata.normalize(street_images(contender).permute(0, 3, 1, 2))


def answer_of(forward: Forward) -> np.ndarray[Any, Any]:
    """One pass's logits, float32, or labels, as an array."""
    answer = forward.run()
    if isinstance(answer, Tensor):
        answer = answer.float() if answer.is_floating_point() else answer
        answer = answer.cpu().numpy()
    array: np.ndarray[Any, Any] = np.asarray(answer)
    return array
