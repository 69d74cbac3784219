"""From a contender to a callable that does one pass, and to the files that engines open."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from effiseg.benchmark.contender import Contender
from effiseg.config.engine import Precision
from effiseg.engines import engine_named
from effiseg.engines.engine import FileEngine
from effiseg.engines.pytorch import TorchEngine
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import from_pretrained
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
    files: list[Path]
    """The file an engine opened, and what belongs to it; empty where there is none."""
    profile: Callable[[int], Counter[str]]
    """Kind of operator → milliseconds of one pass, over so many passes; an engine that opens files opens its file
    once more, with its clocks on."""


def load(contender: Contender) -> Forward:
    """Load a contender's network and its input.

    Raises:
        ModelError, UsageError: it cannot be loaded, in one line.
    """
    engine = engine_named(contender.engine)
    return _load_torch(contender, engine) if isinstance(engine, TorchEngine) else _load_file(contender, engine)


def write_file(contender: Contender, path: Path) -> None:
    """Write the file that the contender's engine will open.

    Raises:
        ModelError, UsageError: the network cannot be exported, in one line.
    """
    engine = engine_named(contender.engine)
    assert isinstance(engine, FileEngine), contender
    if contender.software == "transformers":
        from effiseg.benchmark import transformers_network as theirs

        network = theirs.TransformersNetwork(contender.source, contender.output, weights=contender.form == "published")
        images = _normalized(contender, _metadata(contender))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            engine.write_plain(network, images, path, theirs.PURPOSE)
        return
    from effiseg.export import writing

    writing.write_file(
        from_pretrained(contender.source),
        path,
        engine,
        input_size=contender.image_size,
        batch_size=contender.batch_size,
        precision=contender.precision,
        output=contender.output,
        source=contender.source,
    )


def _street_images(contender: Contender) -> Tensor:
    """The input of every contender: (B, H, W, 3) uint8 RGB, one embedded street scene, the same for all."""
    image, _ = draw_scene(scene_rng(0, "test", 0), *contender.image_size)
    return torch.from_numpy(image)[None].repeat(contender.batch_size, 1, 1, 1)


def _input_array(contender: Contender) -> np.ndarray[Any, Any]:
    """The input of the contender's file: our files uint8 (B, H, W, 3), transformers' normalized (B, 3, H, W)."""
    if contender.software == "effiseg":
        return _street_images(contender).numpy()
    return _normalized(contender, _metadata(contender)).contiguous().numpy()


def _load_torch(contender: Contender, engine: TorchEngine) -> Forward:
    network = _network(contender, engine)
    params = sum(parameter.numel() for parameter in network.parameters())
    params += sum(buffer.numel() for buffer in network.buffers() if contender.form == "fused")
    network = network.to(contender.device, DTYPES[contender.precision])
    images = _normalized(contender, _metadata(contender))
    # transformers computes in the layout that its image processor gives, effiseg in channels_last.
    layout = torch.contiguous_format if contender.software == "transformers" else torch.channels_last
    images = images.to(contender.device, DTYPES[contender.precision]).contiguous(memory_format=layout)
    call = engine.ready(network)

    def run() -> Tensor:
        with torch.inference_mode():
            return call(images)

    return Forward(run, params, [], lambda passes: engine.profile(run, contender.device, passes))


def _load_file(contender: Contender, engine: FileEngine) -> Forward:
    assert contender.file is not None, contender
    file, array = Path(contender.file), _input_array(contender)
    call: Callable[[np.ndarray[Any, Any]], Any]
    if contender.software == "transformers":
        call = engine.run_plain(file, contender.threads, contender.precision)
    else:
        call = engine.load(file, threads=contender.threads, precision=contender.precision)

    def profile(passes: int) -> Counter[str]:
        return engine.profile(file, array, contender.threads, contender.precision, passes)

    return Forward(partial(call, array), None, engine.parts(file), profile)


def _network(contender: Contender, engine: TorchEngine) -> nn.Module:
    match contender.form:
        case "published" | "same_shape":
            from effiseg.benchmark.transformers_network import TransformersNetwork

            return TransformersNetwork(contender.source, contender.output, weights=contender.form == "published")
        case "fused":
            model = from_pretrained(contender.source)
            return engine.deploy_form(model, contender.device, input="normalized", output=contender.output)
        case "trained":
            assert contender.output == "logits", "the label map is part of the deploy form"
            return from_pretrained(contender.source)
        case "file":
            raise AssertionError(contender)


def _metadata(contender: Contender) -> ModelMetadata:
    return from_pretrained(contender.source).metadata


def _normalized(contender: Contender, metadata: ModelMetadata) -> Tensor:
    """(B, 3, H, W) float32, what a network without its own normalization takes."""
    return metadata.normalize(_street_images(contender).permute(0, 3, 1, 2))


def answer_of(forward: Forward) -> np.ndarray[Any, Any]:
    """One pass's logits, float32, or labels, as an array."""
    answer = forward.run()
    if isinstance(answer, Tensor):
        answer = answer.float() if answer.is_floating_point() else answer
        answer = answer.cpu().numpy()
    array: np.ndarray[Any, Any] = np.asarray(answer)
    return array
