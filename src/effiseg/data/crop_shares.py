"""Shares of classes in training crops: the true sampler and the true crops, of labels alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from effiseg.data.classes import Classes
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.parallel import map_in_processes
from effiseg.data.rare_class_sampler import Draw, RareClassSampler
from effiseg.data.sample import Sample
from effiseg.data.transforms import TrainingTransform, sample_generator
from effiseg.progress import Progress

Place = tuple[int, int, int | None]
"""(epoch, place, class that the crop is placed on)."""


def crop_shares(
    spec: DatasetSpec,
    samples: Sequence[Sample],
    transform: TrainingTransform,
    rare_classes: RareClassSampler | None,
    seed: int,
    crops: int,
    progress: Progress | None = None,
) -> npt.NDArray[np.float64]:
    """The share of each class in the labelled pixels of the first crops of a run.

    Args:
        spec: the data set.
        samples: of the training split.
        transform: how training crops.
        rare_classes: the sampler; None: every image once an epoch.
        seed: of the run.
        crops: how many, from the first place of the first epoch on.
        progress: called after every image that is read.

    Returns:
        (K,) shares, 0..1; all 0 if nothing is labelled.

    Raises:
        DataError: a mask cannot be read.
    """
    places: dict[int, list[Place]] = defaultdict(list)
    for number in range(crops):
        epoch, place = divmod(number, len(samples))
        index, focus = Draw(place, None) if rare_classes is None else rare_classes.draw(epoch, place)
        places[index].append((epoch, place, focus))
    work = [(samples[index], here) for index, here in sorted(places.items())]  # each mask is decoded once
    total = np.zeros(spec.num_classes, dtype=np.int64)
    for counts in map_in_processes(partial(_count_crops, spec.classes, transform, seed), work, progress):
        total += counts
    return np.asarray(total / max(1, int(total.sum())), dtype=np.float64)


def _count_crops(
    spec: Classes, transform: TrainingTransform, seed: int, item: tuple[Sample, list[Place]]
) -> npt.NDArray[np.int64]:
    sample, places = item
    labels, _ = sample.read_labels(spec)
    total = np.zeros(256, dtype=np.int64)
    for epoch, place, focus in places:
        crop = transform.crop_labels(labels, sample_generator(seed, epoch, place), focus)
        total += np.bincount(crop.reshape(-1), minlength=256)
    return total[: spec.num_classes]
