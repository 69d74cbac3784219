"""How a run shows itself: a live bar with ETA on a terminal and in notebooks, one line per epoch everywhere."""

from __future__ import annotations

import logging
import time
import warnings

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from effiseg.data.datamodule import SegmentationDataModule
from effiseg.messages import is_quiet, say
from effiseg.models.segformer import SegFormer
from effiseg.notebook import NotebookBar, in_notebook
from effiseg.progress import format_seconds
from effiseg.training.checkpointing import TrainingState
from effiseg.training.schedule import Schedule
from effiseg.training.step_timing import SHARE_COLUMNS


def describe_run(student: SegFormer, data: SegmentationDataModule, schedule: Schedule, state: TrainingState) -> str:
    """One line before the first step: the network, the pictures and the length."""
    pictures = f"{len(data.train_samples)} images to train on"
    if data.val_samples:
        pictures += f", {len(data.val_samples)} to evaluate on"
    steps = f"steps {state.step + 1} to {schedule.total_steps}" if state.step else f"{schedule.total_steps} steps"
    size = f"SegFormer-{student.variant.upper()}, {student.num_parameters() / 1e6:.2f} M parameters"
    return f"{size}; {pictures}; {steps} in {schedule.epochs} epochs"


class TrainingProgress:
    """Progress of a run over all its steps, printed to stderr.

    Args:
        title: what is trained.
        epochs: epochs of the whole run.
        steps: optimizer steps of the whole run.
        done: steps already done by earlier sessions of the run.
        enabled: False prints nothing (other processes of a data-parallel run).
    """

    def __init__(self, title: str, epochs: int, steps: int, done: int, *, enabled: bool = True) -> None:
        self.epochs = epochs
        self.steps = steps
        self.first = done
        self.started = time.monotonic()
        terminal = Console(stderr=True).is_terminal
        self.enabled = enabled
        self.console = Console(stderr=True, soft_wrap=True, highlight=False, force_terminal=terminal)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps · loss {task.fields[loss]} · ETA {task.fields[eta]} ·"),
            TimeElapsedColumn(),
            console=self.console,
            disable=is_quiet() or not (enabled and self.console.is_terminal),
            transient=True,
        )
        self.title = title
        self.task = self.bar.add_task(title, total=steps, completed=done, loss="–", eta="–")
        self.bar.start()
        self.cell = NotebookBar() if enabled and in_notebook() and not is_quiet() else None
        self.shown = float("-inf")

    def is_due(self) -> bool:
        """Whether there is a live bar, and a step to show there would not come too soon to be read."""
        return (self.bar.live.is_started or self.cell is not None) and time.monotonic() - self.shown >= 0.1

    def step(self, done: int, epoch: int, loss: float) -> None:
        """Show that `done` steps are done; `epoch` is 1-based."""
        self.shown = time.monotonic()
        title, eta = f"{self.title} · epoch {epoch}/{self.epochs}", self.eta(done)
        self.bar.update(self.task, completed=done, description=title, loss=f"{loss:.4f}", eta=eta)
        if self.cell is not None:
            self.cell.show(done, self.steps, f"{title} · {done}/{self.steps} steps · loss {loss:.4f} · ETA {eta}")

    def validating(self, images: int, total: int) -> None:
        """Show how far the evaluation on val is."""
        title = f"{self.title} · evaluating {images}/{total}"
        self.bar.update(self.task, description=title)
        if self.cell is not None:
            self.cell.show(images, total, title)

    def epoch(self, row: dict[str, float | int | None], done: int) -> None:
        """Print the finished epoch's line, which a terminal of 100 columns holds."""
        miou = row.get("val_miou")
        words = [f"epoch {row['epoch']}/{self.epochs}", f"loss {row['loss']:.4f}"]
        if miou is not None:
            words.append(f"mIoU {miou:.2f} %")
        words.append(f"{row['images_per_second']:.1f} img/s")
        words.append(f"data {100 * (row[SHARE_COLUMNS['data']] or 0):.0f} %")
        if done < self.steps:
            words.append(f"ETA {self.eta(done)}")
        self.say(" · ".join(words))

    def say(self, text: str) -> None:
        """Print a line about the run."""
        if self.enabled:
            say(f"{self.title} · {text}")

    def eta(self, done: int) -> str:
        """Time left at the pace of this session, as h:mm:ss, evaluations included."""
        if done <= self.first:
            return "–"
        pace = (time.monotonic() - self.started) / (done - self.first)
        return format_seconds(pace * (self.steps - done))

    def stop(self) -> None:
        """Take the live bar away."""
        self.bar.stop()
        if self.cell is not None:
            self.cell.close()


def quiet_lightning() -> None:
    """Silence, in this process, what Lightning and torch say about themselves and about choices made on purpose."""
    for name in ("lightning.pytorch", "lightning.fabric", "torch.multiprocessing.spawn"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    # Kernels of depthwise convolutions come with the gradient's strides of channels_last memory.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
