"""Batches of training samples, counted so that a run can go on anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch.distributed
from torch.utils.data import Sampler

from effiseg.data.sample_order import SampleOrder, UniformOrder
from effiseg.data.unlabeled import UnlabeledOrder

Key = tuple[int, int]
"""(epoch, place in the split) of a training sample; without a sampler of classes the place is its index. An
`UnlabeledKey` is of an unlabeled picture."""


class TrainingBatchSampler(Sampler[list[Key]]):
    """Batches of (epoch, index) from a position to the end of the run.

    Every epoch is a permutation drawn from (seed, epoch), cut into global batches of `batch_size` ×
    `accumulate` × `num_processes`; an optimizer step has the same samples however many processes share it.
    Which permutations there are says `SampleOrder`.
    An incomplete last global batch is left out; its samples come at other places of other epochs. Where the
    whole split is smaller than one global batch, it is repeated until it fills one.

    The sampler never counts by itself: loader workers run ahead of training. Who trains tells it where to
    start (`set_position`).

    Args:
        num_samples: size of the split.
        batch_size: samples of one pass in one process.
        epochs: epochs of the whole run.
        seed: seed of the order.
        num_processes: processes that share every step.
        process_index: this process; None asks torch.distributed when the iteration starts.
        accumulate: passes of one optimizer step.
        unlabeled: unlabeled pictures, whose keys follow those of the samples in every batch.
        order: how an epoch's samples are permuted; None: all permutations are equally likely.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        epochs: int,
        seed: int,
        *,
        num_processes: int = 1,
        process_index: int | None = None,
        accumulate: int = 1,
        unlabeled: UnlabeledOrder | None = None,
        order: SampleOrder | None = None,
    ) -> None:
        assert num_samples > 0
        self.num_samples = num_samples
        self._order = order or UniformOrder(num_samples)
        self.batch_size = batch_size
        self.epochs = epochs
        self.seed = seed
        self.num_processes = num_processes
        self.process_index = process_index
        self.accumulate = accumulate
        self.unlabeled = unlabeled
        self.epoch = 0
        self.batches_done = 0

    @property
    def global_batch_size(self) -> int:
        """Samples of one optimizer step, over all passes and processes."""
        return self.batch_size * self.accumulate * self.num_processes

    @property
    def batches_per_epoch(self) -> int:
        """Batches (passes) of a whole epoch in one process; a multiple of `accumulate`."""
        return max(1, self.num_samples // self.global_batch_size) * self.accumulate

    def set_position(self, epoch: int, batches_done: int = 0) -> None:
        """Let the next iteration start at `epoch` (from 0) after `batches_done` of its batches."""
        assert 0 <= batches_done <= self.batches_per_epoch
        self.epoch, self.batches_done = epoch, batches_done

    def __len__(self) -> int:
        """Batches from the position to the end of the run."""
        return max(0, self.epochs - self.epoch) * self.batches_per_epoch - self.batches_done

    def __iter__(self) -> Iterator[list[Key]]:
        process = self.process_index
        if process is None:
            process = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        return self._batches(self.epoch, self.batches_done, process)

    def _batches(self, epoch: int, batches_done: int, process: int) -> Iterator[list[Key]]:
        while epoch < self.epochs:
            for batch in range(batches_done, self.batches_per_epoch):
                # Pass a of step s in process p: the a-th, then the p-th part of the step's samples.
                part = batch * self.num_processes + process
                start = part * self.batch_size
                keys: list[Key] = [(epoch, int(index)) for index in self.order(epoch, start, start + self.batch_size)]
                if self.unlabeled is not None:
                    keys += self.unlabeled.keys(epoch * self.batches_per_epoch * self.num_processes + part)
                yield keys
            epoch, batches_done = epoch + 1, 0

    def order(self, epoch: int, start: int = 0, stop: int | None = None) -> npt.NDArray[np.int64]:
        """(stop - start,) sample indices at these places of `epoch`; a function of (seed, epoch).

        There are at least `global_batch_size` places; None: up to the last one.
        """
        words = (self.seed % 2**64, epoch)
        stop = max(self.num_samples, self.global_batch_size) if stop is None else stop
        if stop <= self.num_samples:
            return self._order.part(words, (), start, stop)
        return np.resize(self._order.part(words, (), 0, self.num_samples), stop)[start:]
