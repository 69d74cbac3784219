"""A model scored on a split by actors of a Ray cluster, whose counts are added."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from effiseg.config.evaluation import EvaluationConfig
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.sample import Sample
from effiseg.data.samples import list_samples
from effiseg.errors import UsageError
from effiseg.evaluation.evaluator import check_classes, compare, count_pixels
from effiseg.evaluation.scores import ImageScore, result_of_counts
from effiseg.inference.framed_network import FramedNetwork
from effiseg.inference.framing import Framing
from effiseg.inference.network import load_network
from effiseg.inference.ray_pool import map_on_ray
from effiseg.results import EvaluationResult

Counted = tuple[Tensor, dict[str, ImageScore], npt.NDArray[np.int64]]


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
    if not all(sample.can_be_sent for sample in samples[:1]):
        raise UsageError("on='ray' needs data that lies in files")
    framed = FramedNetwork(load_network(model, device=config.device), Framing.of(config))  # refused here, not there
    check_classes(framed.network, spec, framed.network.source)
    images = framed.framing.images_per_pass
    size = -(-config.ray_part // images) * images
    parts = [list(samples[start : start + size]) for start in range(0, len(samples), size)]
    counts = torch.zeros((spec.num_classes, spec.num_classes + 1), dtype=torch.int64)
    scores: dict[str, ImageScore] = {}
    near = np.zeros((3, spec.num_classes), np.int64)
    make = partial(_CountingWorker, config, model, replace(spec, listings=None))
    for found in map_on_ray(make, parts, config, gpu=config.device == "cuda"):
        counts += found[0]
        scores |= found[1]
        near += found[2]
        if progress is not None:
            progress(len(scores), len(samples))
    boundary = near if config.protocol == "full" else None
    result = result_of_counts(counts, scores, spec, config.split, config.protocol, boundary)
    return replace(result, **framed.network.described(), **framed.framing.described())


class _CountingWorker:
    """Counts parts of a split, in an actor."""

    def __init__(self, config: EvaluationConfig, model: str, spec: DatasetSpec, threads: int) -> None:
        self.config, self.spec = config, spec
        self.framed = FramedNetwork(load_network(model, device=config.device, threads=threads), Framing.of(config))

    def __call__(self, part: list[Sample]) -> Counted:
        """The counts of a part."""
        comparisons = compare(self.framed, part, self.spec, protocol=self.config.protocol)
        device = self.framed.network.device
        counts, scores, near = count_pixels(comparisons, self.spec, device, self.config.protocol == "full", 0)
        return counts.cpu(), scores, near
