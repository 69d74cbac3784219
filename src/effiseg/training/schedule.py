"""How long a run is."""

from __future__ import annotations

from dataclasses import dataclass

from effiseg.training.checkpointing import TrainingState


@dataclass(frozen=True)
class Schedule:
    """How many passes and steps a run has."""

    epochs: int
    steps_per_epoch: int
    accumulate: int

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.epochs * self.steps_per_epoch

    def is_over(self, state: TrainingState) -> bool:
        """Whether a run that stands at `state` has nothing left to train or to evaluate."""
        return (state.step >= self.total_steps or state.stopped_early) and not state.validation_pending
