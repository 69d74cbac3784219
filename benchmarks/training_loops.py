"""The loops that are compared: transformers' SegFormer as published code trains it, and effiseg's task."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from side_by_side import IGNORE, synchronize
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from effiseg.config.training import TrainingPrecision
from effiseg.models.metadata import IMAGENET_MEAN, IMAGENET_STD
from effiseg.training.segmentation_task import SegmentationTask

LEARNING_RATE = 6e-5
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class PhaseClock:
    """Adds up the time of the phases of steps; on a GPU by events, for which nothing waits."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._steps: list[list[tuple[str, Any]]] = []

    def begin(self) -> None:
        """A step begins."""
        self._steps.append([("", self._now())])

    def mark(self, phase: str) -> None:
        """A phase of the step ends."""
        self._steps[-1].append((phase, self._now()))

    def milliseconds(self) -> dict[str, float]:
        """Mean time of each phase a step."""
        synchronize(self.device)
        total: dict[str, float] = {}
        steps = [step for step in self._steps if len(step) > 1]
        for step in steps:
            for (_, start), (phase, end) in pairwise(step):
                total[phase] = total.get(phase, 0.0) + self._between(start, end)
        return {phase: value / len(steps) for phase, value in total.items()}

    def _now(self) -> Any:
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            return event
        return time.perf_counter()

    def _between(self, start: Any, end: Any) -> float:
        if self.device.type == "cuda":
            return float(start.elapsed_time(end))
        return float(1000 * (end - start))


class Training:
    """Training steps, the same for both sides.

    Args:
        loss_of: batch on the device → loss.
        optimizer: of what is trained.
        device: where it lies.
        precision: 32, or autocast.
        head: the network's decode head, whose end is the end of the forward pass; None where that cannot be seen.
        afterwards: what else belongs to a step.
    """

    def __init__(
        self,
        loss_of: Callable[[Any], Tensor],
        optimizer: torch.optim.Optimizer,
        device: torch.device,
        precision: TrainingPrecision,
        head: nn.Module | None = None,
        afterwards: Callable[[], None] = lambda: None,
    ) -> None:
        self.loss_of, self.optimizer, self.afterwards = loss_of, optimizer, afterwards
        self.device, self.precision = device, precision
        self.clock: PhaseClock | None = None
        if head is not None:
            head.register_forward_hook(lambda *_: self.mark("forward"))

    def step(self, batch: Any, clock: PhaseClock | None = None) -> Tensor:
        """Train on a batch, a dict or a tuple; the loss. `clock` is told of the phases."""
        self.clock = clock
        batch = to_device(batch, self.device)
        self.mark("data")
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, _DTYPES[self.precision], enabled=self.precision != "float32"):
            loss = self.loss_of(batch)
        self.mark("loss")
        loss.backward()  # type: ignore[no-untyped-call]
        self.mark("backward")
        self.optimizer.step()
        self.afterwards()
        self.mark("optimizer")
        return loss.detach()

    def mark(self, phase: str) -> None:
        """A phase of the step ends."""
        if self.clock is not None:
            self.clock.mark(phase)


def transformers_training(model: Any, device: torch.device, precision: TrainingPrecision = "float32") -> Training:
    """transformers' SegFormer with its own loss, and torch's AdamW as it comes.

    `labels` makes the model upsample its logits and take the cross-entropy. Batches are tuples of (B, 3, H, W)
    normalized float images and (B, H, W) int64 labels.
    """
    model.to(device).train()

    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        loss: Tensor = model(pixel_values=batch[0], labels=batch[1]).loss
        return loss

    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    return Training(loss_of, optimizer, device, precision, model.decode_head)


def effiseg_training(task: SegmentationTask, device: torch.device) -> Training:
    """A task with its own optimizer and precision, as Lightning would step it; batches are its loader's dicts."""
    task.to(device).train()
    # A compiled step is one piece: there is nothing to see between the network and its loss.
    head = None if task.config.compile else task.student.decode_head
    return Training(
        lambda batch: task.training_step(batch, 0),
        task.configure_optimizers(),
        device,
        task.config.precision,
        head,
        task.after_optimizer_step,
    )


def to_device(batch: Any, device: torch.device) -> Any:
    """A dict or tuple with its tensors moved."""
    if isinstance(batch, dict):
        return {name: to_device(value, device) for name, value in batch.items()}
    if isinstance(batch, tuple | list):
        return type(batch)(to_device(value, device) for value in batch)
    return batch.to(device, non_blocking=True) if isinstance(batch, Tensor) else batch


def run_epoch(batches: Iterable[Any], training: Training) -> dict[str, Any]:
    """Take a step on every batch: images, seconds, images a second, and ms of each phase of a step."""
    clock = PhaseClock(training.device)
    images = 0
    start = time.perf_counter()
    clock.begin()
    for batch in batches:
        training.step(batch, clock)
        images += len(batch["id"]) if isinstance(batch, dict) else len(batch[0])
        clock.begin()
    synchronize(training.device)
    seconds = time.perf_counter() - start
    return {
        "images": images,
        "seconds": seconds,
        "images_per_second": images / seconds,
        "phases_ms": clock.milliseconds(),
    }


class PillowDataset(Dataset[tuple[Tensor, Tensor]]):
    """Pairs as the paper's published code loads them: Pillow, resized, flipped, shifted by at most two pixels.

    Args:
        pairs: files of images and masks.
        size: (height, width) they are resized to.
    """

    def __init__(self, pairs: list[tuple[Path, Path]], size: tuple[int, int]) -> None:
        self.pairs, self.size = pairs, size
        self.mean = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
        self.std = torch.tensor(IMAGENET_STD).view(3, 1, 1)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """(3, H, W) normalized float image and (H, W) int64 labels."""
        shape = (self.size[1], self.size[0])
        image = Image.open(self.pairs[index][0]).convert("RGB").resize(shape, Image.Resampling.BILINEAR)
        mask = Image.open(self.pairs[index][1]).resize(shape, Image.Resampling.NEAREST)
        if random.random() < 0.5:
            image, mask = ImageOps.mirror(image), ImageOps.mirror(mask)
        left, top = random.randint(-2, 2), random.randint(-2, 2)
        image, mask = shifted(image, left, top, 0), shifted(mask, left, top, IGNORE)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        return (pixels - self.mean) / self.std, torch.from_numpy(np.array(mask)).long()


def shifted(image: Image.Image, left: int, top: int, filling: int) -> Image.Image:
    """The image moved by (left, top) pixels, as large as before."""
    moved = Image.new(image.mode, image.size, filling if image.mode == "L" else (filling,) * 3)
    moved.paste(image, (left, top))
    return moved


def plain_loader(
    pairs: list[tuple[Path, Path]], size: tuple[int, int], batch: int, workers: int
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Shuffled batches; with workers that stay alive between epochs."""
    return DataLoader(
        PillowDataset(pairs, size),
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available() and workers > 0,
    )
