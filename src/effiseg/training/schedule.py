"""How long a run is."""

from __future__ import annotations

from dataclasses import dataclass, replace

from effiseg.config.training import TrainConfig
from effiseg.training.checkpointing import TrainingState


@dataclass(frozen=True)
class Schedule:
    """How many passes and steps a run has."""

    epochs: int
    steps_per_epoch: int
    accumulate: int
    steps: int | None = None
    """Optimizer steps of the run where they are no whole epochs, within the last of them."""

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.steps or self.epochs * self.steps_per_epoch

    def steps_of_epoch(self, step: int) -> int:
        """How many steps of its epoch are done after step `step`, counted from 1."""
        return (step - 1) % self.steps_per_epoch + 1

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch ends with step `step`, counted from 1; the last one may be cut short."""
        return step % self.steps_per_epoch == 0 or step == self.total_steps

    def is_over(self, state: TrainingState) -> bool:
        """Whether a run that stands at `state` has nothing left to train or to evaluate."""
        return (state.step >= self.total_steps or state.stopped_early) and not state.validation_pending


def with_epochs_of_steps(config: TrainConfig, batches_per_epoch: int) -> TrainConfig:
    """The settings with as many epochs as `steps` begin, where those are given.

    Args:
        config: a run's settings.
        batches_per_epoch: passes of one epoch in one process.
    """
    if config.steps is None:
        return config
    return replace(config, epochs=-(-config.steps // (batches_per_epoch // config.accumulate)))
