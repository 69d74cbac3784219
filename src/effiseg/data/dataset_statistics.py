"""Statistics of a whole data set: pixel shares of every split, class weights by every rule, and what training sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, get_args

from effiseg.config.dataset import DataStatisticsConfig
from effiseg.config.loss import ClassWeightRule
from effiseg.config.training import SamplerName, TrainConfig
from effiseg.data.crop_shares import crop_shares
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.mask_counts import count_masks
from effiseg.data.rare_class_sampler import RareClassSampler
from effiseg.data.samples import list_samples
from effiseg.data.statistics import SplitStatistics, split_statistics
from effiseg.data.transforms import TrainingTransform
from effiseg.progress import Progress

_CROPS = 1000
"""Crops from which the samplers' shares are counted."""
RULES: tuple[ClassWeightRule, ...] = get_args(ClassWeightRule)
Step = Callable[[str], AbstractContextManager[Progress]]
"""Called with the name of a piece of work; its progress is told while the context is open."""


@contextmanager
def silent(_: str) -> Iterator[Progress]:
    """A step that nobody watches."""
    yield lambda done, total: None


def dataset_statistics(config: DataStatisticsConfig, spec: DatasetSpec, step: Step = silent) -> dict[str, Any]:
    """Statistics of a data set as plain JSON values.

    Args:
        config: the splits, and the (height, width) of the network's input for the samplers' crops.
        spec: the data set.
        step: how each piece of work is watched.

    Returns:
        dataset, source, names, ignore_index; splits → name → images, labeled_pixels, shares, images_with
        (both by class name), ignored_share, unlisted (raw value → pixels); class_weights → split they were
        computed from, and for every rule the weights by class name; crops (null without train) → number, image_size,
        augment, and for every sampler the share of each class in its crops.

    Raises:
        DataError: the data set breaks a rule.
    """
    counted: dict[str, SplitStatistics] = {}
    for split in config.splits or spec.splits:
        with step(f"masks of {split}") as progress:
            counted[split] = split_statistics(spec, split, progress)
    source = "train" if "train" in counted else next(iter(counted))
    return {
        "dataset": spec.name,
        "source": str(spec.source),
        "names": list(spec.names),
        "ignore_index": spec.ignore_index,
        "splits": {split: _split_values(spec, statistics) for split, statistics in counted.items()},
        "class_weights": {
            "split": source,
            "rules": {rule: _by_name(spec, counted[source].class_weights(rule)) for rule in RULES},
        },
        "crops": _crop_values(spec, config.image_size, step) if source == "train" else None,
    }


def _by_name(spec: DatasetSpec, values: Any) -> dict[str, Any]:
    return dict(zip(spec.names, values.tolist(), strict=True))


def _split_values(spec: DatasetSpec, statistics: SplitStatistics) -> dict[str, Any]:
    return {
        "images": statistics.images,
        "labeled_pixels": int(statistics.class_counts.sum()),
        "shares": _by_name(spec, statistics.shares),
        "images_with": _by_name(spec, statistics.images_where_present),
        "ignored_share": statistics.ignored_share,
        "unlisted": {str(value): pixels for value, pixels in statistics.unlisted.items()},
    }


def _crop_values(spec: DatasetSpec, image_size: tuple[int, int], step: Step) -> dict[str, Any]:
    """The share of each class in the first crops that each sampler lets training see."""
    config = TrainConfig()
    samples = list_samples(spec, "train")
    with step("masks of train") as progress:
        rare = RareClassSampler(count_masks(spec, samples, progress).classes, config.seed)
    knobs = config.augmentation.filled_from(config.augment)
    transform = TrainingTransform(image_size, config.resize, knobs, spec.ignore_index)
    shares: dict[SamplerName, dict[str, Any]] = {}
    samplers: dict[SamplerName, RareClassSampler | None] = {"uniform": None, "rare_class": rare}
    for name, sampler in samplers.items():
        with step(f"crops of {name}") as progress:
            found = crop_shares(spec, samples, transform, sampler, config.seed, _CROPS, progress)
        shares[name] = _by_name(spec, found)
    return {"number": _CROPS, "image_size": list(image_size), "augment": config.augment, "shares": shares}
