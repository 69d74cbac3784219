"""The two torch data sets over a split: varied samples for training, resized ones for evaluation."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from effiseg.config.data import AugmentationConfig, InputResize, Resize
from effiseg.data.cache import SampleCache, StoredPair, StoredSize
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.rare_class_sampler import Draw, RareClassSampler
from effiseg.data.sample import Sample
from effiseg.data.transforms import (
    TrainingTransform,
    UInt8Array,
    prepare_for_evaluation,
    prepare_for_windows,
    sample_generator,
)
from effiseg.errors import DataError


@dataclass(frozen=True)
class EvaluationSample:
    """An image as the network sees it, and its label as the data set has it."""

    id: str
    """The sample's id."""
    image: torch.Tensor
    """(3, h, w) uint8 RGB, resized and padded at the right and the bottom to multiples of 32."""
    valid_size: tuple[int, int]
    """(height, width) of the image without its padding."""
    label: torch.Tensor
    """(H, W) uint8 at the original size: class index or ignore_index."""


class LoaderError(DataError):
    """A DataError on its way out of a loader worker.

    torch raises a worker's exception again with the whole traceback as its message; this keeps the last line,
    which is the original message.
    """

    def __init__(self, message: str) -> None:
        last_line = message.strip().splitlines()[-1]
        super().__init__(last_line.removeprefix(f"{LoaderError.__module__}.{LoaderError.__qualname__}: "))


class SegmentationDataset(Dataset[dict[str, Any]]):
    """Training samples, addressed by (epoch, place in the split).

    What an item is depends on (seed, epoch, place) and nothing else: not on the worker, the process, the
    order of calls or any global random state. Items are `{"image": (3, H, W) uint8 RGB,
    "label": (H, W) uint8, "id": str}` at `input_size`.

    Args:
        samples: what to read, in the order that indices mean.
        spec: the data set.
        input_size: (height, width) of the items.
        resize: keep_ratio or fixed.
        augmentation: knobs, all filled (`AugmentationConfig.filled_from`).
        seed: seed of the augmentation.
        cache: where decoded pairs are kept, at a size of `StoredSize.for_training` with the same settings.
        rare_classes: says which sample stands at a place; None: the one of that number.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        spec: DatasetSpec,
        input_size: tuple[int, int],
        resize: Resize,
        augmentation: AugmentationConfig,
        seed: int,
        cache: SampleCache | None = None,
        rare_classes: RareClassSampler | None = None,
    ) -> None:
        assert cache is None or cache.size == StoredSize.for_training(input_size, resize, augmentation)
        self.samples = samples
        self.spec = spec
        self.seed = seed
        self.cache = cache
        self.rare_classes = rare_classes
        self.transform = TrainingTransform(input_size, resize, augmentation, spec.ignore_index)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        """The sample at a place of an epoch, as varied there, for `key` (epoch, place).

        Raises:
            DataError: as `Sample.read_pair`.
        """
        epoch, place = key
        index, focus = Draw(place, None) if self.rare_classes is None else self.rare_classes.draw(epoch, place)
        sample = self.samples[index].of_epoch(self.seed, epoch)
        stored = read_stored(sample, self.spec, self.cache)
        generator = sample_generator(self.seed, epoch, place)
        image, label = self.transform(stored.image, stored.label, generator, stored.original_shape, focus)
        return {"image": channels_first(image), "label": torch.from_numpy(label), "id": sample.id}


class EvaluationDataset(Dataset[EvaluationSample]):
    """Evaluation samples: no randomness, labels at their original size.

    Args:
        samples: what to read.
        spec: the data set.
        input_size: (height, width) of the network's input; images are brought to it as `resize` says and
            padded to multiples of 32. None, only with a window: they keep their size.
        resize: see `prepare_for_evaluation`.
        cache: where decoded pairs are kept, at a size of `StoredSize.for_evaluation` with the same settings.
        window: (height, width) of sliding windows, see `prepare_for_windows`; not with a cache.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        spec: DatasetSpec,
        input_size: tuple[int, int] | None,
        resize: InputResize,
        cache: SampleCache | None = None,
        window: tuple[int, int] | None = None,
    ) -> None:
        assert window is not None or input_size is not None
        if cache is not None:
            assert window is None
            assert input_size is not None
            assert resize in ("keep_ratio", "fixed")
            assert cache.size == StoredSize.for_evaluation(input_size, resize)
        self.samples = samples
        self.spec = spec
        self.input_size = input_size
        self.resize: InputResize = resize
        self.cache = cache
        self.window = window

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> EvaluationSample:
        """Raises: DataError as `read_pair`."""
        sample = self.samples[index]
        stored = read_stored(sample, self.spec, self.cache)
        if self.window is not None:
            image, valid_size = prepare_for_windows(stored.image, self.window, self.input_size, self.resize)
        else:
            assert self.input_size is not None
            image, valid_size = prepare_for_evaluation(stored.image, self.input_size, self.resize)
        # A tensor must not lie in a cache's file, which cannot be written.
        label = stored.label if stored.label.flags.writeable else stored.label.copy()
        return EvaluationSample(sample.id, channels_first(image), valid_size, torch.from_numpy(label))


def start_worker(worker_index: int) -> None:
    """Prepare a loader worker (`worker_init_fn`): one thread, and deaf to the signals meant for the trainer.

    A signal that reaches the whole process group (Ctrl-C, `timeout`, a cluster's queue) would kill the
    workers in the middle of the step that the trainer still wants to end; in a group of their own they do not
    see it. They end by themselves when the trainer is gone.
    """
    del worker_index
    # 0 runs OpenCV sequentially; 1 would first join the threads of a pool that the fork did not copy, and hang.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)


def read_stored(sample: Sample, spec: DatasetSpec, cache: SampleCache | None) -> StoredPair:
    """A sample's pair, as the cache stores it where there is one.

    Raises:
        LoaderError: as `Sample.read_pair`.
    """
    try:
        if cache is not None:
            return cache.read_pair(sample)
        image, label = sample.read_pair(spec)
    except DataError as error:
        raise LoaderError(str(error)) from None
    return StoredPair(image, label, (image.shape[0], image.shape[1]))


def channels_first(image: UInt8Array) -> torch.Tensor:
    """An image (H, W, 3) as a tensor (3, H, W)."""
    return torch.from_numpy(np.stack(cv2.split(image)))  # four times as fast as a transposed copy
