"""How far an engine's answer lies from the logits of the network as it was trained."""

from __future__ import annotations

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
