"""The network: its size and its norms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from effiseg.config.ranges import BELOW_ONE, POSITIVE, check_ranges

Variant = Literal["n", "s", "b0", "b1", "b2", "b3", "b4", "b5"]
"""Named sizes, smallest first; `models/shape.py` says what they are."""
Norm = Literal["layer_norm", "dyt", "dyl", "derf"]
NORM_TITLES: dict[Norm, str] = {"layer_norm": "LayerNorm", "dyt": "DyT", "dyl": "DyL", "derf": "Derf"}
"""Their names in tables and model cards."""
LARGEST_STRIDE = 32
"""Pixels that one place of the encoder's last stage stands for: no image may be smaller, evaluation pads to its
multiples."""
LONGEST_SIDE = 16384
"""Pixels of a side of a network's input at most; larger images are cut into windows."""


@dataclass
class ModelConfig:
    """The network: its size and its normalizations."""

    variant: Variant = "b0"
    """Size of the network: n and s (2.6 and 3.3 M parameters, answers at an eighth of the input's size), or SegFormer's
    b0 (3.7 M) to b5 (85 M)."""
    patch_norm: Norm = "layer_norm"
    """Normalization after the four overlap patch embeddings."""
    block_norm: Norm = "layer_norm"
    """All other normalizations of the encoder."""
    patch_centered: bool = False
    """Whether a patch norm other than LayerNorm takes each token's mean over its channels away first."""
    block_centered: bool = False
    """The same of the block norms. It folds away, but before a tanh it must be computed."""
    drop_path_rate: float = 0.1
    """Stochastic depth: probability to skip the last block's branches, growing linearly from 0."""
    classifier_dropout: float = 0.1
    """Dropout before the classifier of the head."""
    norm_eps: float = 1e-5
    """Epsilon of the LayerNorms."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {"drop_path_rate": BELOW_ONE, "classifier_dropout": BELOW_ONE, "norm_eps": POSITIVE},
            "model.",
        )
