"""A model scored on a split by actors of a Ray cluster, whose counts are added."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from effiseg.config.evaluation import EvaluationConfig
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.sample import Sample
from effiseg.data.samples import list_samples
from effiseg.errors import UsageError
from effiseg.evaluation.evaluator import check_classes, compare, count_pixels
from effiseg.evaluation.scores import SplitCounts, result_of_counts
from effiseg.inference.framed_network import FramedNetwork
from effiseg.inference.framing import Framing
from effiseg.inference.network import load_network
from effiseg.inference.ray_pool import map_on_ray
from effiseg.results import EvaluationResult


def evaluate_on_ray(
    config: EvaluationConfig, model: str, spec: DatasetSpec, progress: Callable[[int, int], None] | None = None
) -> EvaluationResult:
    """The result of `evaluator.evaluate`, counted by actors.

    Args:
        config: how images meet the network, the split, and where it is done.
        model: a MODEL that every actor can load.
        spec: the data set; its files lie where every actor can read them.
        progress: called with (images done, images in all).

    Raises:
        DataError, ModelError, UsageError: what is wrong, in one line.
    """
    samples = list_samples(spec, config.split)
    if kept := next((sample for sample in samples if not sample.can_be_sent), None):
        raise UsageError(
            f"--on ray sends samples to other processes; {kept.image} lives in this one: "
            "give data that lies in files, or leave --on out"
        )
    framed = FramedNetwork(load_network(model, device=config.device), Framing.of(config))  # refused here, not there
    check_classes(framed.network, spec, framed.network.source)
    images = framed.framing.images_per_pass
    size = -(-config.ray_part // images) * images
    parts = [list(samples[start : start + size]) for start in range(0, len(samples), size)]
    counted = SplitCounts.none(spec.num_classes)
    make = partial(_CountingWorker, config, model, replace(spec, listings=None))
    for found in map_on_ray(make, parts, config, gpu=config.device == "cuda"):
        counted.add(found)
        if progress is not None:
            progress(len(counted.images), len(samples))
    result = result_of_counts(counted, spec, config.split, config.protocol, boundary=config.protocol == "full")
    return replace(result, **framed.network.described(), **framed.framing.described())


class _CountingWorker:
    """Counts parts of a split, in an actor."""

    def __init__(self, config: EvaluationConfig, model: str, spec: DatasetSpec, threads: int) -> None:
        self.config, self.spec = config, spec
        self.framed = FramedNetwork(load_network(model, device=config.device, threads=threads), Framing.of(config))

    def __call__(self, part: list[Sample]) -> SplitCounts:
        """The counts of a part."""
        comparisons = compare(self.framed, part, self.spec, protocol=self.config.protocol)
        boundary = self.config.protocol == "full"
        return count_pixels(comparisons, self.spec, self.framed.network.device, boundary, threads=0)
