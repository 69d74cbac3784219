"""The other side of `--against transformers`: the same weights in transformers' SegFormer, or the same shape."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from effiseg.config.engine import Output
from effiseg.errors import UsageError
from effiseg.files import read_json

PURPOSE = "--against transformers"


class TransformersNetwork(nn.Module):
    """transformers' SegformerForSemanticSegmentation as a function from images to logits or labels.

    Args:
        source: a model folder that transformers can read.
        weights: take its weights; without, the network has the folder's shape, LayerNorms and random weights.
        output: logits (B, K, H/4, W/4), or labels (B, H, W) int64, made as transformers' image processor makes
            them: one bilinear interpolation of the logits, then the best class of every pixel.

    Raises:
        UsageError: transformers is not installed.
    """

    def __init__(self, source: str, output: Output, *, weights: bool = True) -> None:
        super().__init__()
        library = _import_transformers()
        kind = library.SegformerForSemanticSegmentation
        if weights:
            network = kind.from_pretrained(source)
        else:
            given = {**read_json(Path(source) / "config.json"), "hidden_act": "gelu", "layer_norm_eps": 1e-5}
            own = ("effiseg", "model_type", "architectures", "dtype")
            network = kind(library.SegformerConfig(**{key: given[key] for key in given if key not in own}))
        self.network: Any = network.eval()
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
