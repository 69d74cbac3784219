"""How long one forward pass takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Key = TypeVar("Key", bound=Hashable)


def measure_latency(
    model: nn.Module, image_size: tuple[int, int], repeats: int = 20, warmup: int = 5
) -> dict[str, Any]:
    """Time forward passes of one image, normalized float in, logits at a quarter of its size out.

    The model runs where it lies, in eval mode under `inference_mode`; its training mode is restored. On a GPU
    every pass is waited for.

    Args:
        model: on its device, in its dtype.
        image_size: (height, width).
        repeats: passes that are timed, at least 1.
        warmup: passes before them.

    Returns:
        latency_ms (median), fps (1000 / latency_ms), samples_ms (every timed pass), image_size ([h, w]),
        batch_size (1), device, dtype and threads (of the CPU).
    """
    image = _image_for(model, image_size)
    with _evaluating(model):
        samples = [_timed(model, image) for _ in range(warmup + repeats)][warmup:]
    median = statistics.median(samples)
    device = image.device
    return {
        "latency_ms": median,
        "fps": 1000 / median,
        "samples_ms": samples,
        "image_size": list(image_size),
        "batch_size": 1,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "dtype": str(image.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }


def interleaved_latency(
    models: Mapping[Key, nn.Module],
    image_size: tuple[int, int],
    *,
    device: torch.device | str = "cpu",
    repeats: int = 15,
    warmup: int = 3,
) -> dict[Key, float]:
    """Median time of one pass of each model, milliseconds, batch 1.

    The models take turns, so that whatever else the machine does meets all of them alike: their ratios can be
    trusted further than the single figures.

    Args:
        models: what to time; all are moved to `device`.
        image_size: (height, width).
        device: where to run.
        repeats: timed passes of each, at least 1.
        warmup: passes of each before them.
    """
    samples: dict[Key, list[float]] = {key: [] for key in models}
    images = {key: _image_for(model.to(device), image_size) for key, model in models.items()}
    with _evaluating(*models.values()):
        for _ in range(warmup + repeats):
            for key, model in models.items():
                samples[key].append(_timed(model, images[key]))
    return {key: statistics.median(times[warmup:]) for key, times in samples.items()}


@contextmanager
def _evaluating(*models: nn.Module) -> Iterator[None]:
    modes = {module: module.training for model in models for module in model.modules()}
    try:
        for model in models:
            model.eval()
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def _image_for(model: nn.Module, image_size: tuple[int, int]) -> Tensor:
    """(1, 3, H, W) random values in 0..1 with the model's device and dtype."""
    parameter = next(model.parameters())
    image = torch.rand(1, 3, *image_size, generator=torch.Generator().manual_seed(0))
    return image.to(parameter.device, parameter.dtype).contiguous(memory_format=torch.channels_last)


def _timed(model: nn.Module, image: Tensor) -> float:
    """Milliseconds of one pass."""
    _wait_for(image.device)
    start = time.perf_counter()
    model(image)
    _wait_for(image.device)
    return 1000 * (time.perf_counter() - start)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
