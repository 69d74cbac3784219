"""How far an engine's answer lies from the logits of the network as it was trained, and how far it may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from effiseg.models.best_class import best_class


class Agreement(NamedTuple):
    """One answer beside the reference."""

    error: float | None
    """Largest difference of logits over the range of the reference's; None for labels."""
    labels: float
    """Share of pixels with the reference's label, 0..1."""


@dataclass(frozen=True)
class Tolerance:
    """How far an answer may lie from the reference."""

    error: float | None
    """Most difference of logits over their range; None: not bounded."""
    labels: float
    """Least share of pixels with the reference's label, 0..1."""

    def complaint(self, found: Agreement, where: str = "") -> str:
        """The breach of it, or nothing; `where` is put into the sentence."""
        if self.error is not None and found.error is not None and not found.error <= self.error:
            return f"its logits differ{where} by {found.error:.1e} of their range, allowed is {self.error:g}"
        if not found.labels >= self.labels:
            share = f"{100 * found.labels:.3f} % of its labels are the model's{where}"
            return f"{share}, asked for are {100 * self.labels:g} %"
        return ""


SAME_NETWORK = Tolerance(1e-4, 0.999)
"""For what computes the same in float32: the order of sums differs, and of two equal logits either may win."""


def compare(answer: npt.NDArray[Any], reference: npt.NDArray[np.float32], image_size: tuple[int, int]) -> Agreement:
    """An answer beside the reference's logits.

    Args:
        answer: logits (B, K, h, w) float32, or labels (B, H, W) of any integer type.
        reference: logits (B, K, h, w).
        image_size: (H, W), where labels are compared.
    """
    expected = torch.from_numpy(reference)
    labels = best_class(expected, image_size)
    error = None
    if answer.ndim == 4:
        found = torch.from_numpy(answer)
        # nan, where the engine overflowed, is an infinite error and not one that no comparison finds.
        difference = (found - expected).abs().nan_to_num(nan=torch.inf).max()
        error = (difference / (expected.max() - expected.min())).item()
        given = best_class(found, image_size)
    else:
        given = torch.from_numpy(answer.astype(np.uint8))
    return Agreement(error, (given == labels).double().mean().item())
