"""Pictures without masks in training: put in an order that depends on nothing but where the run stands, and varied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from effiseg.data.cache import SampleCache
from effiseg.data.dataset import SegmentationDataset, channels_first, read_stored
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.sample import Sample
from effiseg.data.sample_order import SampleOrder, UniformOrder
from effiseg.data.transforms import TrainingTransform

_ORDER_KEY = (3,)
"""Spawn keys of this file keep its streams apart from those of the labelled samples."""


class UnlabeledKey(NamedTuple):
    """One showing of a picture."""

    cycle: int
    """How often all pictures were shown before."""
    picture: int
    """Which one."""


@dataclass(frozen=True)
class UnlabeledOrder:
    """Which pictures stand beside the labelled samples of a pass.

    They come in cycles, each a permutation drawn from (seed, cycle): none comes twice before all came once. The n-th
    showing of a run is a function of (seed, n), and n of the pass's place in the run.
    """

    pictures: int
    """How many there are."""
    per_pass: int
    """How many stand in one pass of one process."""
    seed: int
    """Seed of the order."""
    order: SampleOrder | None = None
    """How a cycle's pictures are permuted; None: all permutations are equally likely."""

    def keys(self, position: int) -> list[UnlabeledKey]:
        """The pictures of the pass that is number `position` of the run, over all processes."""
        numbers = range(position * self.per_pass, (position + 1) * self.per_pass)
        return [self._key(*divmod(number, self.pictures)) for number in numbers]

    def _key(self, cycle: int, place: int) -> UnlabeledKey:
        order = self.order or UniformOrder(self.pictures)
        found = order.part((self.seed % 2**64, cycle), _ORDER_KEY, place, place + 1)
        return UnlabeledKey(cycle, int(found[0]))


class UnlabeledDataset(Dataset[dict[str, Any]]):
    """Varied pictures without labels, addressed by `UnlabeledKey`.

    What an item is depends on (seed, cycle, picture) and nothing else. Items are `{"image": (3, H, W) uint8 RGB, "id":
    str}`, and where `jitter` is not 1 also `"teacher_image"`, which differs from it in colours alone.

    Args:
        samples: what to read, in the order of their numbers.
        spec: the data set.
        transform: how they are varied.
        jitter: factor on the colour knobs in `image`; `teacher_image` has them as they are.
        seed: seed of the variation.
        cache: as for `SegmentationDataset`.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        spec: DatasetSpec,
        transform: TrainingTransform,
        jitter: float,
        seed: int,
        cache: SampleCache | None = None,
    ) -> None:
        self.samples = samples
        self.spec = spec
        self.transform = transform
        self.jitters = (1.0,) if jitter == 1 else (1.0, jitter)
        self.seed = seed
        self.cache = cache

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: UnlabeledKey) -> dict[str, Any]:
        """The picture as it is varied there.

        Raises:
            DataError: as `Sample.read_image`.
        """
        sample = self.samples[key.picture]
        stored = read_stored(sample, self.spec, self.cache)
        sequence = np.random.SeedSequence([self.seed % 2**64, *key], spawn_key=(4,))
        generator = np.random.Generator(np.random.Philox(sequence))
        views = self.transform.views(stored.image, generator, self.jitters, stored.original_shape)
        item: dict[str, Any] = {"image": channels_first(views[-1]), "id": sample.id}
        return item if len(views) == 1 else item | {"teacher_image": channels_first(views[0])}


class MixedDataset(Dataset[dict[str, Any]]):
    """Labelled samples, and beside them unlabeled pictures; the key says which.

    Args:
        labelled: addressed by (epoch, place).
        unlabeled: addressed by `UnlabeledKey`.
    """

    def __init__(self, labelled: SegmentationDataset, unlabeled: UnlabeledDataset) -> None:
        self.labelled = labelled
        self.unlabeled = unlabeled

    def __len__(self) -> int:
        return len(self.labelled) + len(self.unlabeled)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        """As of the data set that the key belongs to."""
        return self.unlabeled[key] if isinstance(key, UnlabeledKey) else self.labelled[key]


def collate_mixed(items: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch of a `MixedDataset`: the labelled samples as without the others, those under `unlabeled`."""
    labelled = [item for item in items if "label" in item]
    unlabeled = [item for item in items if "label" not in item]
    batch: dict[str, Any] = default_collate(labelled)
    return batch | {"unlabeled": default_collate(unlabeled)}


class UnlabeledImages(NamedTuple):
    """The unlabeled part of a batch."""

    student: torch.Tensor
    """(U, 3, H, W) uint8 RGB, what the student sees."""
    teacher: torch.Tensor
    """(U, 3, H, W) uint8 RGB, what the teacher sees: of the same geometry."""

    @classmethod
    def of(cls, batch: dict[str, Any]) -> UnlabeledImages | None:
        """The part of a batch of the loader; None where it has none."""
        part = batch.get("unlabeled")
        return None if part is None else cls(part["image"], part.get("teacher_image", part["image"]))
