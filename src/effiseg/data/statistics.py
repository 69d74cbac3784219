"""How often each class occurs, and the class weights that follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from effiseg.config.loss import ClassWeightRule
from effiseg.data.classes import IGNORE_LABEL
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.mask_counts import MaskCounts, count_masks
from effiseg.data.samples import list_samples
from effiseg.progress import Progress

_ENET_CONSTANT = 1.10
"""c of w = 1 / ln(c + p); the paper's Table 1 was made with 1.10."""


@dataclass(frozen=True)
class SplitStatistics:
    """Pixel counts of the masks of a split."""

    split: str
    """Name of the split."""
    images: int
    """Number of masks."""
    class_counts: npt.NDArray[np.int64]
    """(K,) pixels of each class."""
    pixels_where_present: npt.NDArray[np.int64]
    """(K,) labelled pixels, of any class, of the images in which the class occurs."""
    images_where_present: npt.NDArray[np.int64]
    """(K,) images in which the class occurs."""
    ignored: int
    """Pixels that count nowhere, those of unlisted values included."""
    unlisted: dict[int, int]
    """Raw values that label_mapping does not list → pixels."""

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """(K,) share of each class in the labelled pixels, 0..1; all 0 if there are none."""
        return _ratio(self.class_counts, np.full_like(self.class_counts, self.class_counts.sum()))

    @property
    def frequencies(self) -> npt.NDArray[np.float64]:
        """(K,) share of each class in the labelled pixels of the images in which it occurs; 0 if in none."""
        return _ratio(self.class_counts, self.pixels_where_present)

    @property
    def ignored_share(self) -> float:
        """Share of ignored pixels in all pixels."""
        total = int(self.class_counts.sum()) + self.ignored
        return self.ignored / total if total else 0.0

    def class_weights(self, rule: ClassWeightRule) -> npt.NDArray[np.float64]:
        """(K,) class weights by `rule`; see `class_weights`."""
        return class_weights(self.shares, rule, self.frequencies)


def split_statistics(
    spec: DatasetSpec, split: str, progress: Progress | None = None, processes: int | None = None
) -> SplitStatistics:
    """Count the mask pixels of a split, or take what an earlier run counted.

    Args:
        spec: the data set.
        split: name of the split.
        progress: called after every mask that is read.
        processes: masks decoded at a time; default: one a core.

    Raises:
        DataError: no such split, a mask is missing, cannot be read, or holds a value that is no class.
    """
    return summarize(split, count_masks(spec, list_samples(spec, split), progress, processes))


def summarize(split: str, counts: MaskCounts) -> SplitStatistics:
    """The statistics of a split from the counts of its masks."""
    classes = counts.classes
    present = classes > 0
    labelled = classes.sum(axis=1, dtype=np.int64)
    return SplitStatistics(
        split=split,
        images=len(classes),
        class_counts=classes.sum(axis=0, dtype=np.int64),
        pixels_where_present=labelled @ present,
        images_where_present=present.sum(axis=0),
        ignored=int(counts.ignored.sum()),
        unlisted=counts.unlisted,
    )


def describe_unlisted(spec: DatasetSpec, statistics: SplitStatistics) -> str:
    """One line about the raw values that label_mapping does not list."""
    found = ", ".join(f"{value} ({pixels} pixels)" for value, pixels in statistics.unlisted.items())
    return (
        f"{spec.source}: label_mapping does not list the raw values {found} of {statistics.split}; they are "
        f"ignored (list them as {IGNORE_LABEL} to say so)"
    )


def class_weights(
    shares: npt.ArrayLike, rule: ClassWeightRule, frequencies: npt.ArrayLike | None = None
) -> npt.NDArray[np.float64]:
    """Weights of the classes in a loss, from how often they occur.

    - none: 1.
    - enet: 1 / ln(1.10 + p), p the class's share of all labelled pixels (Paszke et al., ENet, 2016, with the
      constant of the paper's Table 1); between 1.35 for p = 1 and 10.49 for p = 0.
    - median_frequency: median(f) / f, f the class's share in the labelled pixels of the images in which it
      occurs, the median over the classes that occur (Eigen and Fergus, 2015).
    - inverse: 1 / p, scaled so that the mean over the classes that occur is 1.

    For the last two a class that never occurs gets the largest weight of those that do: finite, and as that
    of the rarest.

    Args:
        shares: (K,) p, each 0..1.
        rule: one of the above.
        frequencies: (K,) f for median_frequency; without them `shares` are taken, as if every class occurred
            in every image.

    Returns:
        (K,) float64, positive and finite.
    """
    p = np.asarray(shares, dtype=np.float64)
    match rule:
        case "none":
            return np.ones_like(p)
        case "enet":
            return np.asarray(1 / np.log(_ENET_CONSTANT + p))
        case "median_frequency":
            f = p if frequencies is None else np.asarray(frequencies, dtype=np.float64)
            return _filled(float(np.median(f[f > 0])) / f[f > 0] if (f > 0).any() else f[f > 0], f > 0)
        case "inverse":
            inverse = 1 / p[p > 0]
            return _filled(inverse / inverse.mean() if inverse.size else inverse, p > 0)


def _filled(weights: npt.NDArray[np.float64], present: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Weights of the present classes → of all classes."""
    result = np.full(present.shape, weights.max(initial=0.0) or 1.0)
    result[present] = weights
    return result


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
