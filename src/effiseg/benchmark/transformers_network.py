"""The other side of `--against transformers`: the same weights in transformers' SegFormer."""

from __future__ import annotations

import os
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from effiseg.config.engine import Output
from effiseg.errors import UsageError

PURPOSE = "--against transformers"


class TransformersNetwork(nn.Module):
    """transformers' SegformerForSemanticSegmentation as a function from images to logits or labels.

    Args:
        source: a model folder that transformers can read.
        output: logits (B, K, H/4, W/4), or labels (B, H, W) int64, made as transformers' image processor makes
            them: one bilinear interpolation of the logits, then the best class of every pixel.

    Raises:
        UsageError: transformers is not installed.
    """

    def __init__(self, source: str, output: Output) -> None:
        super().__init__()
        library = _import_transformers()
        self.network: Any = library.SegformerForSemanticSegmentation.from_pretrained(source).eval()
        self.output = output

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalized floats to what `output` says."""
        logits: Tensor = self.network(pixel_values=images).logits
        if self.output == "logits":
            return logits
        return F.interpolate(logits, size=images.shape[2:], mode="bilinear", align_corners=False).argmax(1)


def _import_transformers() -> Any:
    """transformers, told to be quiet.

    Raises:
        UsageError: it is not installed.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        import transformers
    except ImportError:
        raise UsageError(f"{PURPOSE} needs it: pip install transformers") from None
    return transformers
