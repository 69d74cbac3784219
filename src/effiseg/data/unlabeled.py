"""Pictures without masks: found, put in an order that depends on nothing but where the run stands, and varied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, default_collate

from effiseg.data.cache import SampleCache
from effiseg.data.classes import Classes
from effiseg.data.dataset import SegmentationDataset, channels_first, read_stored
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.faults import ListingNotes
from effiseg.data.image_file import decode_image
from effiseg.data.image_names import images_of, stem_of
from effiseg.data.reading import Labels
from effiseg.data.regular_file import refuse_irregular
from effiseg.data.sample import Sample
from effiseg.data.samples import unique_ids
from effiseg.data.transforms import TrainingTransform, UInt8Array


@dataclass(frozen=True)
class UnlabeledSample(Sample):
    """One image file; every pixel of its labels is ignored."""

    def read_image(self) -> UInt8Array:
        """See `effiseg.data.image_file.decode_image`."""
        return decode_image(self.image)[0]

    def read_labels(self, classes: Classes) -> Labels:
        """As large as the image, for all that wants pairs, as the cache does."""
        return _ignored(self.read_image(), classes)

    def read_pair(self, classes: Classes) -> tuple[UInt8Array, UInt8Array]:
        """The image is read once."""
        image = self.read_image()
        return image, _ignored(image, classes).label

    def check(self, classes: Classes) -> dict[int, int]:
        """The image is read."""
        self.read_image()
        return {}

    @property
    def files(self) -> tuple[Path, ...]:
        """The image alone."""
        return (self.image,)


def _ignored(image: UInt8Array, classes: Classes) -> Labels:
    return Labels(np.full(image.shape[:2], classes.ignore_index, np.uint8), {})


def list_unlabeled(spec: DatasetSpec, entries: Sequence[str]) -> list[Sample]:
    """The pictures that a run's `unlabeled`, or else the data set's, leads to; sorted by path, each once.

    Args:
        spec: the data set; its `image_suffix` holds for its own entries.
        entries: folders, globs and .txt lists of the run's settings, where a mask in a list is passed over; empty:
            those of the data set.

    Raises:
        DataError: an entry leads to no image, or to what is no regular file.
    """
    if entries:
        spec = replace(spec, image_suffix=None)
    notes = ListingNotes()
    found = {
        image for entry in entries or spec.unlabeled for image, _ in images_of(spec, "unlabeled", entry, None, notes)
    }
    images = sorted(found)
    for image in images:
        refuse_irregular(image, "image")
    ids = unique_ids([(stem_of(spec, image), image) for image in images], None)
    return [UnlabeledSample(name, Path(image), Path(image)) for name, image in zip(ids, images, strict=True)]


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

    def keys(self, position: int) -> list[UnlabeledKey]:
        """The pictures of the pass that is number `position` of the run, over all processes."""
        numbers = range(position * self.per_pass, (position + 1) * self.per_pass)
        cycles = [divmod(number, self.pictures) for number in numbers]
        return [UnlabeledKey(cycle, int(_cycle(self.seed, cycle, self.pictures)[place])) for cycle, place in cycles]


@lru_cache(maxsize=2)
def _cycle(seed: int, cycle: int, pictures: int) -> npt.NDArray[np.int64]:
    # The spawn keys of this file keep its streams apart from those of the labelled samples.
    sequence = np.random.SeedSequence([seed % 2**64, cycle], spawn_key=(3,))
    return np.random.Generator(np.random.Philox(sequence)).permutation(pictures)


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
