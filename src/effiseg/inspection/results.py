"""The schema of an inspection's results file: all numbers of the table and the figures. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from effiseg.results import ResultsFile


@dataclass
class ShapeFits:
    """Two curves through (input, core output), all channels together: what the paper's figure 1 shows."""

    slope: float
    """a of the line a·x + b."""
    intercept: float
    """b."""
    linear_r2: float
    """Share of the variance that the line explains, 0..1."""
    linear_residual: float
    """Root mean square of what the line leaves; a LayerNorm's core output has a standard deviation of about 1."""
    alpha: float
    """α of γ·tanh(αx) + β."""
    gamma: float
    """γ."""
    beta: float
    """β."""
    tanh_r2: float
    """Share of the variance that the tanh explains, 0..1."""
    tanh_residual: float
    """Root mean square of what the tanh leaves."""


@dataclass
class ReplacementFits:
    """The best DyL and the best DyT in the norm's place: (input, output), with γ and β of every channel."""

    dyl_r2: float
    """Share of the variance within channels that the best DyL explains, 0..1."""
    dyl_residual: float
    """Root mean square of what it leaves, in the output's unit."""
    dyt_alpha: float
    """α of the best DyT."""
    dyt_r2: float
    """Share of the variance within channels that the best DyT explains, 0..1."""
    dyt_residual: float
    """Root mean square of what it leaves, in the output's unit."""
    gain: float
    """Share of what DyL leaves that DyT explains, 0..1."""


@dataclass
class LearnedParameters:
    """Parameters learnt by a norm that stands in a LayerNorm's place."""

    alpha: list[float]
    """Smallest, mean and largest α; DyT has one."""
    gamma: list[float]
    """Smallest, mean and largest γ over the channels."""
    saturated: float | None
    """Share of the sampled activations whose core exceeds 0.964 (DyT: |αx| > 2), 0..1; null where none bounds them."""


@dataclass
class Points:
    """The points of the figure: sampled elements at even steps of their rank by input, both extremes included."""

    input: list[float]
    """x, ascending."""
    core: list[float]
    """Core output."""


@dataclass
class InspectedNorm:
    """One norm of the encoder."""

    name: str
    """Its dotted name in the model."""
    place: str
    """patch_embedding, before_attention, after_reduction, before_mlp or stage_end."""
    stage: int
    """1 to 4."""
    block: int | None
    """From 1; null outside of blocks."""
    kind: str
    """layer_norm, dyt or dyl."""
    channels: int
    """Its width."""
    pairs: int
    """Sampled elements behind the fits."""
    shape: ShapeFits
    """Curves through the core output."""
    replacement: ReplacementFits
    """The norm that could take its place; this decides."""
    may_become: str
    """dyt, dyl or neither."""
    points: Points
    """For the figure."""
    learned: LearnedParameters | None = None
    """null for a LayerNorm."""


@dataclass
class NormInspection(ResultsFile):
    """The results file of `effiseg inspect-norms`."""

    norms: list[InspectedNorm]
    """In the order in which they run."""
    verdict: list[str]
    """Sentences that answer which norms may become DyT, which DyL."""
    criteria: dict[str, float]
    """Thresholds of `may_become`."""
    model: str
    """The model as the user gave it."""
    dataset: str
    """Name of the data set."""
    split: str
    """Its split."""
    images: int
    """Images that ran through the encoder."""
    image_size: list[int]
    """Network input, [height, width]."""
    resize: str
    """keep_ratio or fixed."""
    seed: int
    """Of the sampled elements."""
    environment: dict[str, Any] = field(default_factory=dict)
    """The answer of `describe_environment`."""
    command: str = ""
    """The command line."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Every setting it was made with, resolved."""
