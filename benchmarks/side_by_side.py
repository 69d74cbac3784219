"""What the measurements share: equal models, turns, fresh processes, and how a function's operators are listed."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from statistics import median
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from effiseg.allocator import keep_freed_memory
from effiseg.models.pretrained import from_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.models.shape import SHAPES

CLASSES = 19
TRANSFORMERS_VARIANTS = [variant for variant, shape in SHAPES.items() if shape.output_stride == 4]
"""Sizes that transformers has too."""
IGNORE = 255
Allocator = Literal["tuned", "default"]
Result = TypeVar("Result")


def use_allocator(choice: Allocator) -> str:
    """Set this process's allocator for whatever runs in it; what it got."""
    os.environ["EFFISEG_ALLOCATOR"] = choice  # training would tune it otherwise
    return keep_freed_memory()


def run_alone(function: Callable[..., Result], *arguments: Any) -> Result:
    """The result of a function in a fresh process, where no earlier measurement has left memory or threads.

    Args:
        function: of a module's top level.
        arguments: what pickle can carry.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=start_processes_as_usual) as pool:
        return pool.submit(function, *arguments).result()


def start_processes_as_usual() -> None:
    """Undo what being spawned leaves behind: loader workers would be spawned too, and import everything anew."""
    multiprocessing.set_start_method(None, force=True)


def transformers_model(variant: str, dropout: float = 0.1, classes: int = CLASSES) -> Any:
    """transformers' SegFormer with its own initial weights.

    Args:
        variant: "b0" to "b5".
        dropout: rate of both the classifier's dropout and stochastic depth; transformers' default is 0.1.
        classes: how many.
    """
    from transformers import SegformerConfig, SegformerForSemanticSegmentation
    from transformers.utils import logging

    logging.disable_progress_bar()
    shape = SHAPES[variant]  # type: ignore[index]
    config = SegformerConfig(
        depths=list(shape.depths),
        hidden_sizes=list(shape.embed_dims),
        decoder_hidden_size=shape.decoder_width,
        id2label={index: f"LABEL_{index}" for index in range(classes)},
        drop_path_rate=dropout,
        classifier_dropout_prob=dropout,
    )
    return SegformerForSemanticSegmentation(config)


def same_models(variant: str, device: torch.device) -> tuple[SegFormer, Any]:
    """effiseg's model and transformers', with equal randomized weights and no source of randomness left."""
    theirs = transformers_model(variant, dropout=0.0)
    randomize(theirs)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = from_pretrained(folder)
    return ours.to(device), theirs.to(device)


def randomize(model: nn.Module) -> None:
    """Parameters and statistics away from their start, at scales that keep the activations in range."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "bias":
                nn.init.normal_(parameter, std=0.2)
            elif isinstance(module, (nn.LayerNorm, nn.BatchNorm2d)):
                nn.init.uniform_(parameter, 0.5, 1.5)
            else:
                nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)


def alternate(
    functions: dict[str, Callable[[], Tensor]], counts: tuple[int, int], device: torch.device
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Call the functions in turn, in changing order.

    Returns:
        Milliseconds of the timed calls by name; the results of all calls, if scalar, by name.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    scalars: dict[str, list[float]] = {name: [] for name in functions}
    warmup, repeats = counts
    for turn in range(warmup + repeats):
        names = list(functions) if turn % 2 else list(functions)[::-1]
        for name in names:
            synchronize(device)
            start = time.perf_counter()
            value = functions[name]()
            synchronize(device)
            elapsed = 1000 * (time.perf_counter() - start)
            if value.ndim == 0:
                scalars[name].append(value.item())
            if turn >= warmup:
                times[name].append(elapsed)
    return times, scalars


def assert_equal_losses(ours: Sequence[float], theirs: Sequence[float], device: torch.device) -> None:
    """The first losses equal up to rounding, and later ones up to what rounding makes of the steps between.

    On a GPU convolutions may run in TF32, which is as wrong in both.
    """
    first = abs(ours[0] / theirs[0] - 1)
    assert first <= (1e-5 if device.type == "cpu" else 1e-2), f"the first losses differ by {first}"
    for mine, other in zip(ours, theirs, strict=True):
        assert abs(mine - other) <= (1e-3 if device.type == "cpu" else 1e-2) * other, f"losses: {mine} and {other}"


def summary(times: dict[str, list[float]], size: tuple[int, int], batch: int) -> dict[str, Any]:
    """Medians, their quotient, and every sample."""
    ours, theirs = median(times["effiseg"]), median(times["transformers"])
    return {
        "image_size": list(size),
        "batch": batch,
        "effiseg_ms": ours,
        "transformers_ms": theirs,
        "speedup": theirs / ours,
        "samples_ms": times,
    }


def top_operators(function: Callable[[], object], device: torch.device, calls: int = 2) -> list[dict[str, Any]]:
    """The 15 operators in which a function spends most time by themselves: name, ms a call, share, times a call."""
    on_gpu = device.type == "cuda"
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CPU, *([activity.CUDA] if on_gpu else [])]) as profile:
        for _ in range(calls):
            function()
        synchronize(device)
    rows = profile.key_averages()
    own = [float(row.self_device_time_total if on_gpu else row.self_cpu_time_total) for row in rows]
    total = sum(own) or 1.0
    order = sorted(range(len(rows)), key=lambda index: -own[index])[:15]
    return [
        {
            "operator": rows[index].key,
            "ms": own[index] / 1000 / calls,
            "share": own[index] / total,
            "calls": rows[index].count / calls,
        }
        for index in order
    ]


def device_of(model: nn.Module) -> torch.device:
    """Where the model lies."""
    return next(model.parameters()).device


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
