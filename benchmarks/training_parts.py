"""The single measurements of `training.py`. Each runs in a process of its own, with both sides in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Literal

import torch
from floor import floors_ms, measure_peaks
from side_by_side import (
    CLASSES,
    IGNORE,
    Allocator,
    alternate,
    assert_equal_losses,
    same_models,
    summary,
    synchronize,
    top_operators,
    transformers_model,
    use_allocator,
)
from torch import Tensor
from training_loops import LEARNING_RATE, Training, effiseg_training, transformers_training

from effiseg.benchmark.complexity import count_macs
from effiseg.benchmark.worker import peak_memory_mib, reset_peak_memory, resident_mib
from effiseg.config.loss import DistillationConfig, LossConfig
from effiseg.config.model import ModelConfig, Variant
from effiseg.config.training import OptimizerConfig, TrainConfig, TrainingPrecision
from effiseg.distillation import SegFormerTeacher
from effiseg.models.metadata import ModelMetadata
from effiseg.models.segformer import SegFormer
from effiseg.training.trainer import build_task

Side = Literal["effiseg", "transformers"]
DISTILLATION = DistillationConfig(feature_weight=1.0, patch_embedding_weight=1.0)
"""The terms of the recipe kd, equation 9 with the paper's best weights."""


@dataclass(frozen=True)
class Measurement:
    """What is measured, and how often. A part reads what concerns it."""

    size: tuple[int, int]
    """(height, width) of the network's input."""
    batch: int
    """Images of a step."""
    pairs: int
    """Pairs of an epoch, a multiple of `batch`."""
    allocator: Allocator
    """Of both sides."""
    variant: Variant = "b0"
    """Of both sides' network."""
    teacher: Variant = "b2"
    """Of the teacher."""
    device: str = "cpu"
    """cpu or cuda."""
    precision: TrainingPrecision = "float32"
    """Of effiseg in the end-to-end figures and of extra rows of both sides; float32 is measured in any case."""
    compile: bool = False
    """Whether effiseg compiles where `precision` applies."""
    threads: int = 0
    """torch's; 0 is its own choice."""
    workers: int = 2
    """Loader processes of both sides."""
    warmup: int = 2
    """Untimed steps of every contender."""
    steps: int = 10
    """Timed steps of every contender."""
    rounds: int = 2
    """Turns of every contender's epochs."""
    epochs: int = 4
    """Epochs of each of effiseg's runs: the first fills the cache, the last has nothing to read ahead any more."""
    extras: bool = False
    """Also measure the default allocator and the augmentation standard."""
    data: str = ""
    """The data set's YAML file."""

    def prepare(self) -> torch.device:
        """Set this process up; the device."""
        use_allocator(self.allocator)
        if self.threads:
            torch.set_num_threads(self.threads)
        torch.manual_seed(0)
        return torch.device(self.device)

    def config(self, **changes: Any) -> TrainConfig:
        """effiseg's settings: plain cross-entropy, as transformers' own loss."""
        settings: dict[str, Any] = {
            "data": self.data,
            "batch_size": self.batch,
            "image_size": f"{self.size[0]}x{self.size[1]}",
            "device": self.device,
            "workers": self.workers,
            "model": ModelConfig(self.variant),
            "loss": LossConfig(class_weights="none"),
            "optimizer": OptimizerConfig(lr=LEARNING_RATE),
        }
        return TrainConfig(**(settings | changes))


def measure_step(measurement: Measurement, losses: dict[str, list[float]] | None = None) -> dict[str, Any]:
    """Forward, loss, backward and optimizer on equal tensors, side by side, with every source of randomness off.

    Args:
        measurement: what, and how often.
        losses: what `assert_equal_steps` gave in an earlier process; None asserts and lists the operators here.
    """
    device = measurement.prepare()
    first = losses is None
    losses = losses or assert_equal_steps(measurement, device)
    trainings, batches = equal_contenders(measurement, device)
    functions = {name: step_on(training, batches[name]) for name, training in trainings.items()}
    first_ms = {name: first_call(function, device) for name, function in functions.items()}
    times, _ = alternate(functions, (measurement.warmup - 1, measurement.steps), device)
    result = summary(times, measurement.size, measurement.batch) | {
        "medians_ms": {name: median(samples) for name, samples in times.items()},
        "first_call_ms": first_ms,
        "equal_losses": losses,
    }
    if first:
        result["operators"] = {name: top_operators(function, device) for name, function in functions.items()}
    return result


def equal_contenders(measurement: Measurement, device: torch.device) -> tuple[dict[str, Training], dict[str, Any]]:
    """Both sides in float32 and in the measurement's precision, and equal batches in the form each side takes."""
    ours, theirs = same_models(measurement.variant, device)
    batch, plain = equal_batches(measurement, ours.metadata, 1, device)[0]
    trainings = {
        "transformers": transformers_training(theirs, device),
        "effiseg": effiseg_training(build_task(measurement.config(), ours, (), None), device),
    }
    precision = measurement.precision
    if precision != "float32" or measurement.compile:
        ours, theirs = same_models(measurement.variant, device)
        trainings[f"transformers {precision}"] = transformers_training(theirs, device, precision)
        config = measurement.config(precision=precision, compile=measurement.compile)
        trainings[f"effiseg {precision}"] = effiseg_training(build_task(config, ours, (), None), device)
    return trainings, {name: batch if name.startswith("effiseg") else plain for name in trainings}


def equal_batches(
    measurement: Measurement, metadata: ModelMetadata, count: int, device: torch.device
) -> list[tuple[dict[str, Tensor], tuple[Tensor, Tensor]]]:
    """Random batches as effiseg's loader and as a plain loop hand them over: bytes, and normalized floats."""
    pairs = []
    for _ in range(count):
        shape = (measurement.batch, *measurement.size)
        images = torch.randint(0, 256, (shape[0], 3, *shape[1:]), dtype=torch.uint8, device=device)
        labels = torch.randint(0, CLASSES, shape, dtype=torch.uint8, device=device)
        labels[:, : shape[1] // 8] = IGNORE
        normalized = metadata.normalize(images).contiguous(memory_format=torch.contiguous_format)
        pairs.append(({"image": images, "label": labels}, (normalized, labels.long())))
    return pairs


def assert_equal_steps(measurement: Measurement, device: torch.device, steps: int = 3) -> dict[str, list[float]]:
    """The losses of some steps on changing batches, asserted equal on both sides."""
    ours, theirs = same_models(measurement.variant, device)
    batches = equal_batches(replace(measurement, batch=min(2, measurement.batch)), ours.metadata, steps, device)
    mine = effiseg_training(build_task(measurement.config(), ours, (), None), device)
    other = transformers_training(theirs, device)
    losses = {
        "effiseg": [mine.step(batch).item() for batch, _ in batches],
        "transformers": [other.step(batch).item() for _, batch in batches],
    }
    assert_equal_losses(losses["effiseg"], losses["transformers"], device)
    return losses


def step_on(training: Training, batch: Any) -> Callable[[], Tensor]:
    """A step on always the same batch."""
    return lambda: training.step(batch)


def first_call(function: Callable[[], Tensor], device: torch.device) -> float:
    """Milliseconds of a first call, which compiles where a contender is compiled."""
    synchronize(device)
    start = time.perf_counter()
    function()
    synchronize(device)
    return 1000 * (time.perf_counter() - start)


def measure_distillation(measurement: Measurement) -> dict[str, Any]:
    """A step with a teacher beside a step without, both effiseg's, on the same tensors."""
    device = measurement.prepare()
    config = measurement.config(precision=measurement.precision, compile=measurement.compile)
    students = [SegFormer(measurement.variant, CLASSES) for _ in range(2)]
    teacher = SegFormerTeacher(SegFormer(measurement.teacher, CLASSES))
    batch, _ = equal_batches(measurement, teacher.metadata, 1, device)[0]
    trainings = {
        "plain": effiseg_training(build_task(config, students[0], (), None), device),
        "distillation": effiseg_training(
            build_task(replace(config, distillation=DISTILLATION), students[1], (teacher,), None), device
        ),
    }
    functions = {name: step_on(training, batch) for name, training in trainings.items()}
    times, _ = alternate(functions, (measurement.warmup, measurement.steps), device)
    medians = {name: median(samples) for name, samples in times.items()}
    return {
        "image_size": list(measurement.size),
        "batch": measurement.batch,
        "medians_ms": medians,
        "ratio": medians["distillation"] / medians["plain"],
        "samples_ms": times,
        "operators": {"distillation": top_operators(functions["distillation"], device)},
    }


def measure_memory(measurement: Measurement, side: Side) -> dict[str, float]:
    """What a few steps of one side need above the bare process with all its imports, MiB."""
    device = measurement.prepare()
    from transformers import SegformerForSemanticSegmentation  # noqa: F401 - so that both sides begin alike

    before = 0.0 if device.type == "cuda" else resident_mib()
    reset_peak_memory(device.type == "cuda")
    metadata = ModelMetadata.unnamed(CLASSES)
    batch, plain = equal_batches(measurement, metadata, 1, device)[0]
    if side == "effiseg":
        model = SegFormer(measurement.variant, CLASSES)
        function = step_on(effiseg_training(build_task(measurement.config(), model, (), None), device), batch)
    else:
        function = step_on(transformers_training(transformers_model(measurement.variant), device), plain)
    for _ in range(3):
        function()
    return {"before_mib": before, "peak_mib": peak_memory_mib(device.type == "cuda") - before}


def measure_machine(measurement: Measurement) -> dict[str, Any]:
    """What the machine reaches at most, in the precisions that are measured."""
    measurement.prepare()
    precisions = ["float32"] + ([] if measurement.precision == "float32" else ["bfloat16"])
    return measure_peaks(measurement.device, precisions)  # type: ignore[arg-type]


def roofline(measurement: Measurement, peaks: dict[str, Any], step_ms: dict[str, float]) -> dict[str, Any]:
    """How far the steps are from what the machine could do: contender → gflop of a step, gflops, and effiseg's floor.

    A backward pass costs twice a forward pass. transformers computes the fusing convolution of the head, effiseg
    does not, and the floor is that of effiseg's work.
    """
    macs = count_macs(measurement.variant, CLASSES, measurement.size)
    found: dict[str, Any] = {}
    for name, milliseconds in step_ms.items():
        ours = name.startswith("effiseg")
        gflop = 6 * measurement.batch * ((macs.composed if ours else macs.counted) + macs.attention_total) / 1e9
        found[name] = {"gflop": gflop, "gflops": 1000 * gflop / milliseconds}
        if ours:
            precision: Any = "bfloat16" if name.endswith("bfloat16") else "float32"
            floors = floors_ms(measurement.variant, CLASSES, measurement.size, peaks, precision, measurement.batch)
            found[name]["floor_ms"] = {kind: 3 * value for kind, value in floors.items()}
            found[name]["over_roofline"] = milliseconds / (3 * floors["roofline"])
    return found
