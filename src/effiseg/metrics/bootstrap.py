"""Is a difference in mIoU more than the choice of images? A paired bootstrap over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from effiseg.results import EvaluationResult

Float64 = NDArray[np.float64]
RESAMPLES = 1000


@dataclass(frozen=True)
class PairedDifference:
    """mIoU of one row minus that of another over the same images."""

    first: str
    """Row whose mIoU is taken."""
    second: str
    """Row whose mIoU is subtracted."""
    delta: float
    """Difference over all images, points of percent."""
    low: float
    """Lower end of the 95 % percentile interval."""
    high: float
    """Upper end of it."""
    share_above_zero: float
    """Share of the resamples in which the first row is better, 0..1."""

    @property
    def is_more_than_noise(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def paired_differences(
    evaluations: dict[str, list[EvaluationResult]], resamples: int = RESAMPLES, seed: int = 0
) -> list[PairedDifference]:
    """Every pair of rows, in the order given.

    Images are drawn with replacement, the same ones for all rows; each draw's class counts are pooled and give
    each row's mIoU as the whole split's do (mean over its seeds). The interval is the percentile one (Efron &
    Tibshirani, "An Introduction to the Bootstrap", chapter 13). It covers the choice of images, not that of
    the training seed.

    Args:
        evaluations: row → one evaluation a seed, all with counts of the same images and classes.
        resamples: number of draws.
        seed: of the draws.

    Raises:
        ValueError: an evaluation has no counts per image, or rows were evaluated on other images or classes.
    """
    _check_comparable(evaluations)
    ids = sorted(next(iter(evaluations.values()))[0].image_counts)
    draws = _image_draws(len(ids), resamples, seed)
    whole = np.ones((1, len(ids)))
    every = np.concatenate([whole, draws])
    mious = {name: resampled_miou(found, ids, every) for name, found in evaluations.items()}
    differences = []
    for second, first in combinations(mious, 2):
        delta = mious[first] - mious[second]
        low, high = np.percentile(delta[1:], [2.5, 97.5])
        share = float((delta[1:] > 0).mean())
        differences.append(PairedDifference(first, second, float(delta[0]), float(low), float(high), share))
    return differences


def miou_interval(
    evaluation: EvaluationResult, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """The 95 % percentile interval of one evaluation's mIoU over the choice of images.

    Args:
        evaluation: with counts per image.
        resamples: number of draws.
        seed: of the draws.

    Returns:
        Low and high in percent; None for fewer than two images.
    """
    ids = sorted(evaluation.image_counts)
    if len(ids) < 2:
        return None
    low, high = np.percentile(resampled_miou([evaluation], ids, _image_draws(len(ids), resamples, seed)), [2.5, 97.5])
    return float(low), float(high)


def _image_draws(images: int, resamples: int, seed: int) -> Float64:
    """How often each image is drawn, (resamples, images): as many as there are, with replacement."""
    draws = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)
    return draws.astype(np.float64)


def resampled_miou(evaluations: Sequence[EvaluationResult], ids: Sequence[str], draws: Float64) -> Float64:
    """mIoU of every draw, mean over the seeds.

    Args:
        evaluations: one a seed.
        ids: the N images.
        draws: (R, N) how often each image is drawn.

    Returns:
        (R,) percent. A class that a draw neither holds nor predicts does not count in it.
    """
    total = np.zeros(len(draws))
    for evaluation in evaluations:
        counts = np.array([evaluation.image_counts[name] for name in ids], np.float64)  # (N, 3, K)
        pooled = (draws @ counts.reshape(len(ids), -1)).reshape(len(draws), 3, -1)
        hits, truth, predicted = pooled[:, 0], pooled[:, 1], pooled[:, 2]
        union = truth + predicted - hits
        there = union > 0
        iou = np.divide(hits, union, out=np.zeros_like(hits), where=there)
        total += 100 * iou.sum(1) / np.maximum(there.sum(1), 1)
    return total / len(evaluations)


def _check_comparable(evaluations: dict[str, list[EvaluationResult]]) -> None:
    """Refuse rows that cannot be paired.

    Raises:
        ValueError: why.
    """
    everything = [(name, evaluation) for name, found in evaluations.items() for evaluation in found]
    for name, evaluation in everything:
        if not evaluation.image_counts:
            raise ValueError(f"{name} has no pixel counts per image, as results of earlier versions have none")
    (first_name, first), *others = everything
    for name, evaluation in others:
        if evaluation.names != first.names:
            raise ValueError(f"{name} and {first_name} have other classes")
        if evaluation.image_counts.keys() != first.image_counts.keys():
            raise ValueError(f"{name} and {first_name} were evaluated on other images")
        if evaluation.protocol != first.protocol:
            raise ValueError(f"{name} and {first_name} were evaluated under other protocols")
