"""From a model and images to what every norm does, and which replacement could do it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from effiseg.config.data import Resize
from effiseg.data.dataset import EvaluationDataset
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.samples import evenly_spread, list_samples
from effiseg.environment import require_memory
from effiseg.inference.framing import known_size
from effiseg.inspection.results import (
    InspectedNorm,
    LearnedParameters,
    NormInspection,
    Points,
    ReplacementFits,
    ShapeFits,
)
from effiseg.inspection.sampling import PAIRS, NormSamples, sample_norms
from effiseg.inspection.verdict import CRITERIA, may_become, verdict
from effiseg.models.curve_fits import Fit, fit_linear, fit_tanh
from effiseg.models.normalization import DynamicNorm
from effiseg.models.segformer import SegFormer

_DRAWN_POINTS = 200
"""Points of each norm that the figure shows."""
_SATURATION = math.tanh(2.0)
"""|αx| from which a tanh counts as saturated: it is above 0.964 there."""
_EXACT = 1e-6  # 1 - R² below which a line is exact in float32, and nothing is left for a tanh to explain


def inspect_norms(
    model: SegFormer,
    spec: DatasetSpec,
    split: str = "val",
    images: int = 16,
    *,
    image_size: tuple[int, int] | None = None,
    resize: Resize | None = None,
    pairs: int = PAIRS,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
    source: str = "the model",
) -> NormInspection:
    """Sample every norm of a model on images of a split, and fit lines and tanhs.

    The model's classes need not be the data set's: labels are not compared.

    Args:
        model: moved to `device`.
        spec: the data set.
        split: its split.
        images: how many, spread evenly over the split; all where it has fewer.
        image_size: the network's input (height, width); default: the model's own.
        resize: keep_ratio or fixed; default: the model's own.
        pairs: sampled elements of each norm.
        seed: of the sampled elements.
        device: where to compute.
        progress: called with (steps done, steps in all): an image or a norm's fits is a step.
        source: what the model is called in the result and in errors.

    Raises:
        DataError: the split, an image or a mask breaks a rule.
        UsageError: the model does not know its input size, and none was given.
    """
    input_size, method = known_size(source, image_size, model.metadata.image_size), resize or model.metadata.resize
    require_memory(1, input_size)
    dataset = EvaluationDataset(list_samples(spec, split), spec, input_size, method)
    chosen = evenly_spread(range(len(dataset)), images)
    count = len(chosen)
    tell = progress or (lambda done, total: None)
    # The number of norms is known only with the samples, so the bar counts them in images' worth.
    samples = sample_norms(
        model, dataset, chosen, pairs=pairs, seed=seed, device=device, progress=lambda done: tell(done, 2 * count)
    )
    norms = []
    for done, sample in enumerate(samples, start=1):
        norms.append(_inspect_samples(sample))
        tell(count + done * count // len(samples), 2 * count)
    return NormInspection(
        norms=norms,
        verdict=verdict(norms),
        criteria=CRITERIA,
        model=source,
        dataset=spec.name,
        split=split,
        images=count,
        image_size=list(input_size),
        resize=method,
        seed=seed,
    )


def _inspect_samples(samples: NormSamples) -> InspectedNorm:
    """The fits of one norm, and what it may become."""
    layer = samples.layer
    replacement = _replacement_fits(samples)
    return InspectedNorm(
        name=layer.name,
        place=layer.place,
        stage=layer.stage,
        block=layer.block,
        kind=layer.kind,
        channels=layer.channels,
        pairs=samples.inputs.size,
        shape=_shape_fits(samples),
        replacement=replacement,
        may_become=may_become(replacement),
        points=_drawn_points(samples),
        learned=_learned_parameters(layer.module, samples) if isinstance(layer.module, DynamicNorm) else None,
    )


def _shape_fits(samples: NormSamples) -> ShapeFits:
    """Line and tanh through the core output, all channels together."""
    line, curve = fit_linear(samples.inputs, samples.cores), fit_tanh(samples.inputs, samples.cores)
    return ShapeFits(
        slope=float(line.scale[0]),
        intercept=float(line.offset[0]),
        linear_r2=line.r2,
        linear_residual=line.residual,
        alpha=_alpha(curve),
        gamma=float(curve.scale[0]),
        beta=float(curve.offset[0]),
        tanh_r2=curve.r2,
        tanh_residual=curve.residual,
    )


def _replacement_fits(samples: NormSamples) -> ReplacementFits:
    """The best DyL (a line a channel) and the best DyT (γ and β a channel, one α) from input to output."""
    line = fit_linear(samples.inputs, samples.outputs, samples.channels)
    curve = fit_tanh(samples.inputs, samples.outputs, samples.channels)
    exact = 1 - line.r2 < _EXACT
    return ReplacementFits(
        dyl_r2=line.r2,
        dyl_residual=line.residual,
        dyt_alpha=_alpha(curve),
        dyt_r2=curve.r2,
        dyt_residual=curve.residual,
        gain=0.0 if exact else max(0.0, 1 - curve.squares / line.squares),
    )


def _learned_parameters(module: DynamicNorm, samples: NormSamples) -> LearnedParameters:
    """Parameters learnt by the norm behind the samples."""
    saturated = float(np.mean(np.abs(samples.cores) > _SATURATION)) if module.bounded else None
    return LearnedParameters(_range(module.alpha), _range(module.weight), saturated)


def _drawn_points(samples: NormSamples) -> Points:
    """`_DRAWN_POINTS` of the sampled elements at even steps of their rank by input, to six digits."""
    order = np.argsort(samples.inputs, kind="stable")
    picked = order[np.linspace(0, order.size - 1, min(_DRAWN_POINTS, order.size)).round().astype(int)]
    return Points(*([float(f"{value:.6g}") for value in values[picked]] for values in (samples.inputs, samples.cores)))


def _alpha(fit: Fit) -> float:
    assert fit.alpha is not None
    return fit.alpha


def _range(parameter: nn.Parameter) -> list[float]:
    return [parameter.min().item(), parameter.mean().item(), parameter.max().item()]
