"""The watch over the loss: training ends before a value that is not finite is saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from effiseg.config.training import TrainConfig
from effiseg.errors import RunError
from effiseg.run_folder import RunFolder

_NAMED = 8


class FiniteLoss:
    """Looks at every loss: on the CPU before its gradient is taken; on a GPU, which would have to be waited for, when
    the next one comes and before anything is saved.

    Args:
        config: the run's settings.
        run: its folder.
        on_gpu: whether losses are computed there.
    """

    def __init__(self, config: TrainConfig, run: RunFolder, *, on_gpu: bool) -> None:
        self.config, self.run, self.on_gpu = config, run, on_gpu
        self._waiting: tuple[Mapping[str, Tensor], Sequence[str], int, float] | None = None

    def look(self, terms: Mapping[str, Tensor], samples: Sequence[str], step: int, rate: float) -> None:
        """Take the loss of a pass.

        Args:
            terms: scalars by name; `loss` is the total.
            samples: ids of the batch.
            step: the step that the pass belongs to, 1-based.
            rate: its learning rate.

        Raises:
            RunError: a loss is not finite.
        """
        self._settle()
        self._waiting = terms, samples, step, rate
        if not self.on_gpu:
            self._settle()

    def before_saving(self, module: nn.Module, step: int) -> None:
        """Refuse to save what is not finite: a loss of before, or weights that a finite loss has spoilt.

        Raises:
            RunError: something is not finite.
        """
        self._settle()
        spoilt = [k for k, v in module.state_dict().items() if v.is_floating_point() and not torch.isfinite(v).all()]
        if spoilt:
            raise self._error(f"weights are not finite after step {step} ({spoilt[0]}, {len(spoilt)} tensors in all)")

    def _settle(self) -> None:
        if self._waiting is None:
            return
        (terms, samples, step, rate), self._waiting = self._waiting, None
        if not torch.isfinite(terms["loss"]):
            values = ", ".join(f"{name} {float(value):g}" for name, value in terms.items())
            named = ", ".join(samples[:_NAMED]) + (" …" if len(samples) > _NAMED else "")
            raise self._error(f"the loss of step {step} is not finite ({values}; lr {rate:.3g}; samples {named})")

    def _error(self, found: str) -> RunError:
        precise = "" if self.config.precision == "float32" else " or precision: float32"
        return RunError(
            f"{self.run.path}: {found}; the checkpoints are as they were. Set a smaller optimizer.lr, "
            f"optimizer.gradient_clip_norm: 1{precise} in {self.run.config}, or look at these samples, and "
            f"{self.run.how_to_resume}"
        )
