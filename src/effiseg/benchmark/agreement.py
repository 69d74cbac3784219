"""How far an answer lies from the reference, and whether that is near enough to be timed beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from effiseg.benchmark.contender import Contender
from effiseg.errors import ModelError
from effiseg.models.fuse import best_class

# float32 on the CPU differs by the order of sums alone; a GPU's convolutions may run in TF32.
MOST_ERROR = {"cpu": 1e-4, "cuda": 1e-2}
LEAST_AGREEMENT = {"cpu": 0.999, "cuda": 0.98}


def compare(
    answer: np.ndarray[Any, Any], reference: np.ndarray[Any, Any], image_size: tuple[int, int]
) -> dict[str, float | None]:
    """An answer beside the logits of the network as it was trained.

    Args:
        answer: logits (B, K, h, w), or labels (B, H, W) of any integer type.
        reference: logits (B, K, h, w), float32.
        image_size: (H, W), where labels are compared.

    Returns:
        error: largest difference of logits over the range of the reference's; None for labels.
        label_agreement: share of pixels with the reference's label, 0..1.
    """
    expected = torch.from_numpy(reference)
    labels = best_class(expected, image_size)
    error = None
    if answer.ndim == 4:
        found = torch.from_numpy(answer)
        error = ((found - expected).abs().max() / (expected.max() - expected.min())).item()
        given = best_class(found, image_size)
    else:
        given = torch.from_numpy(answer.astype(np.uint8))
    return {"error": error, "label_agreement": (given == labels).double().mean().item()}


def check(contender: Contender, comparison: dict[str, float | None]) -> None:
    """Refuse to time float32 contenders that do not compute the same.

    Raises:
        ModelError: by how much they differ.
    """
    if contender.precision != "float32":
        return
    error, agreement = comparison["error"], comparison["label_agreement"]
    assert agreement is not None
    if error is not None and not error <= MOST_ERROR[contender.device]:
        raise ModelError(
            f"{contender.name}: only equal networks are timed side by side; its logits differ by {error:.1e} of "
            f"their range from those of the network as trained, more than {MOST_ERROR[contender.device]:.0e}"
        )
    if not agreement >= LEAST_AGREEMENT[contender.device]:
        raise ModelError(
            f"{contender.name}: only equal networks are timed side by side; {100 * (1 - agreement):.2f} % of its "
            "labels differ from those of the network as trained"
        )
