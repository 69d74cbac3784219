"""Which image stands at a place of an epoch, and which class its crop is to show, where rare classes come up more."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from effiseg.data.statistics import class_weights

FOCUSED_SHARE = 0.5
"""Largest share of an epoch's places that are given to classes; the others keep their own image."""
_MAXIMUM_RETURNS = 10.0
"""How often a class may bring each of its images back in an epoch, on average."""


class Draw(NamedTuple):
    """The sample at one place of an epoch."""

    sample: int
    """The sample's number in the split."""
    focus: int | None
    """The class whose pixels the crop is placed on; None: anywhere."""


class RareClassSampler:
    """Half of the places of an epoch for classes in turn, rare ones more often; as long as any epoch.

    A place is given to class c with probability

        s_c = min(FOCUSED_SHARE · w_c / Σ w, _MAXIMUM_RETURNS · n_c / N),   w_c = 1 / ln(1.10 + p_c),

    p_c its share of the labelled pixels, n_c the images of N in which it occurs; a class that never occurs gets none.
    It then shows one of those n_c images, all equally likely, cropped around a pixel of c. With the rest of the
    probability a place shows the image of its own number, as without this sampler. w are ENet's class weights: they
    grow towards rare classes, but no further than 10.49 : 1.35; the second bound keeps a class of two images from
    filling an epoch with them.

    What stands at a place is a function of (seed, epoch, place).

    Args:
        counts: (N, K) pixels of each class in each sample.
        seed: of the run.
    """

    def __init__(self, counts: npt.NDArray[np.unsignedinteger], seed: int) -> None:
        self.seed = seed
        present = counts > 0
        images = present.sum(axis=0)
        # Class after class the samples in which it occurs, in one array.
        self._samples = np.nonzero(present.T)[1].astype(np.int32)
        self._starts = np.concatenate([[0], np.cumsum(images)])
        pixels = counts.sum(axis=0, dtype=np.int64)
        weights = np.where(images > 0, class_weights(pixels / max(1, pixels.sum()), "enet"), 0.0)
        total = weights.sum() or 1.0
        self.focus_shares: npt.NDArray[np.float64] = np.minimum(
            FOCUSED_SHARE * weights / total, _MAXIMUM_RETURNS * images / max(1, len(counts))
        )
        """(K,) s_c."""
        self._bounds = np.cumsum(self.focus_shares)

    def draw(self, epoch: int, place: int) -> Draw:
        """The sample at `place` (0..N−1) of `epoch`."""
        # The spawn key keeps this stream apart from those of the order and of the augmentation.
        sequence = np.random.SeedSequence([self.seed % 2**64, epoch, place], spawn_key=(2,))
        which, where = np.random.Generator(np.random.Philox(sequence)).random(2)
        focus = int(np.searchsorted(self._bounds, which, side="right"))
        if focus == len(self._bounds):
            return Draw(place, None)
        first, end = int(self._starts[focus]), int(self._starts[focus + 1])
        return Draw(int(self._samples[first + int(where * (end - first))]), focus)
