"""From logits to the best class of every pixel at another size: interpolation, then argmax."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def best_class(logits: Tensor, size: tuple[int, int] | torch.Size, *, classes_last: bool = True) -> Tensor:
    """Enlarge logits bilinearly (align_corners=False) and take the best class of every pixel.

    Args:
        logits: (B, K, h, w), any floating dtype, K ≤ 255; interpolated in float32.
        size: (H, W).
        classes_last: whether the best class is sought along the last axis of channels_last memory, in a quarter of the
            time in torch on a CPU. An engine that moves the classes there first is faster without; labels are equal.

    Returns:
        (B, H, W) uint8; of equal logits the first class.
    """
    wide = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
    found = wide.permute(0, 2, 3, 1).argmax(-1) if classes_last else wide.argmax(1)
    return found.to(torch.uint8)
