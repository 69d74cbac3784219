"""The objective: the supervised loss and the distillation terms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from effiseg.config.ranges import NOT_NEGATIVE, POSITIVE, SHARE, check_length, check_ranges

LossName = Literal[
    "cross_entropy",
    "dice",
    "focal",
    "dice_focal",
    "tversky",
    "focal_tversky",
    "combo",
    "combo_jaccard",
    "ohem",
    "custom",
]
ClassWeightRule = Literal["none", "enet", "median_frequency", "inverse"]
TermName = Literal[
    "kl", "feature", "patch_embedding", "feature_mse", "cwd", "dist", "jaccard", "transkd", "review", "pairwise"
]
"""Distillation terms; each has a setting `<name>_weight`, and a column of its name in metrics.csv."""
LabelResolution = Literal["full", "quarter"]


@dataclass
class LossConfig:
    """The supervised loss."""

    name: LossName = "cross_entropy"
    """Which loss; knobs of other losses have no effect. combo: cross-entropy and Dice; combo_jaccard: and soft Jaccard;
    ohem: cross-entropy of the hardest pixels. custom: the one given to `effiseg.train` in Python."""
    class_weights: ClassWeightRule = "enet"
    """Rule that turns the pixel shares of the training split into class weights (cross-entropy, focal,
    combo). enet: 1 / ln(1.10 + p), the paper's Table 1."""
    label_resolution: LabelResolution = "full"
    """full: logits are brought to the labels' size. quarter: labels are reduced (nearest) to a quarter of the input, as
    in the paper's published code, and logits at an eighth (n, s) are brought there."""
    dice_weight: float = 0.5
    """Share of Dice (Jaccard) in dice_focal, combo and combo_jaccard; the other part gets the rest."""
    smooth: float = 1.0
    """ε of Dice and Tversky."""
    sums: Literal["batch", "image"] = "batch"
    """Dice and Tversky: sums over the whole batch, or per image and then averaged."""
    classes: Literal["present", "all"] = "present"
    """Dice and Tversky: average over the classes that occur in the labels, or over all (equation 11 to the
    letter)."""
    gamma: float = 2.0
    """Focusing exponent of the focal loss."""
    normalize_weights: Literal["max", "mean", "none"] = "max"
    """Focal: divide α by its maximum (equation 12 asks α in [0, 1]), by its mean, or not at all."""
    tversky_alpha: float = 0.5
    """Weight of false positives in the Tversky index."""
    tversky_beta: float = 0.5
    """Weight of false negatives in the Tversky index."""
    ohem_threshold: float = 0.7
    """Ohem: pixels whose true class has at most this probability count, and the hardest 1/16 of every image."""
    focal_tversky_gamma: float = 4 / 3
    """Focal Tversky is (1 - TI)^(1/γ)."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "dice_weight": SHARE,
                "ohem_threshold": SHARE,
                "smooth": NOT_NEGATIVE,
                "gamma": NOT_NEGATIVE,
                "tversky_alpha": NOT_NEGATIVE,
                "tversky_beta": NOT_NEGATIVE,
                "focal_tversky_gamma": POSITIVE,
            },
            "loss.",
        )


@dataclass
class DistillationConfig:
    """The loss plus Σ weight · term, for equation 9 KL, FD and PE; no weights are no teacher."""

    kl_weight: float = 0.0
    """λ_KL of equation 9."""
    feature_weight: float = 0.0
    """λ_FD of equation 9, cosine-guided feature distillation (equations 5–7)."""
    patch_embedding_weight: float = 0.0
    """λ_PE of equation 9 (equation 8)."""
    feature_mse_weight: float = 0.0
    """Mean squared distance to the last two stages' maps, the teacher's channels standardized."""
    cwd_weight: float = 0.0
    """Channel-wise distillation of the logits (ICCV 2021), T = 4."""
    dist_weight: float = 0.0
    """DIST (NeurIPS 2022): correlations of the logits' softmaxes over classes and over pixels."""
    jaccard_weight: float = 0.0
    """Jaccard distance to the teacher's soft labels (NeurIPS 2023)."""
    transkd_weight: float = 0.0
    """TransKD (2022): patch embedding alignment and cross selective fusion."""
    review_weight: float = 0.0
    """Knowledge review (CVPR 2021): fused maps compared at several sizes."""
    pairwise_weight: float = 0.0
    """Pair-wise similarities of the last stage's places (CVPR 2019)."""
    temperature: float = 1.0
    """Softmax temperature of KL."""
    mse_weight: float = 1.0
    """λ_m of equation 7."""
    cosine_weight: float = 0.5
    """λ_S of equation 7."""
    detach_guidance: bool = True
    """Whether G of equation 6 is a constant weight or gradients flow through it."""
    feature_stage_weights: list[float] = field(default_factory=lambda: [1.0, 1.0, 1.0, 1.0])
    """α_l of equation 7, one for each of the four stages."""
    patch_embedding_stage_weights: list[float] = field(default_factory=lambda: [0.1, 0.1, 0.5, 1.0])
    """β of equation 8, one for each of the four stages."""

    def __post_init__(self) -> None:
        weights = (*(f"{name}_weight" for name in get_args(TermName)), "mse_weight", "cosine_weight")
        stages = ("feature_stage_weights", "patch_embedding_stage_weights")
        for name in stages:
            check_length(self, name, 4, "four numbers, one for each stage", "distillation.")
        check_ranges(
            self, {"temperature": POSITIVE} | dict.fromkeys((*weights, *stages), NOT_NEGATIVE), "distillation."
        )

    @property
    def weights(self) -> dict[TermName, float]:
        """Term → its weight, of those that count."""
        found: dict[TermName, float] = {name: getattr(self, f"{name}_weight") for name in get_args(TermName)}
        return {name: weight for name, weight in found.items() if weight != 0}

    @property
    def enabled(self) -> bool:
        """Whether any term needs a teacher."""
        return bool(self.weights)
