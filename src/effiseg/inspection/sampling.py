"""Inputs and outputs of every norm, at random positions and channels, by forward hooks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from effiseg.data.dataset import EvaluationDataset, EvaluationSample
from effiseg.inference.network import evaluation_mode
from effiseg.inspection.norm_layers import NormLayer, norm_layers
from effiseg.models.curve_fits import Floats, Groups
from effiseg.models.segformer import SegFormer

PAIRS = 20_000
"""Elements sampled of each norm, over all images."""
PAIRS_PER_CHANNEL = 64
"""Wide norms get more, so that the two numbers fitted to each channel stay few beside its points."""


@dataclass(frozen=True)
class NormSamples:
    """Elements (token, channel) of one norm's input with what became of them; each array is (n,)."""

    layer: NormLayer
    """The norm."""
    inputs: Floats
    """x."""
    cores: Floats
    """After the norm's core, before γ and β."""
    outputs: Floats
    """y, what the norm gave."""
    channels: Groups
    """The element's channel."""


def sample_norms(
    model: SegFormer,
    dataset: EvaluationDataset,
    chosen: Sequence[int],
    *,
    pairs: int = PAIRS,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> list[NormSamples]:
    """Run images through the encoder and keep random elements of every norm, in the order of the norms.

    Which elements is a function of (seed, norm, image) alone. Tokens that see nothing but padding are left out; no
    element is taken twice, so small maps give fewer.

    Args:
        model: moved to `device`; evaluated without gradients, its modes are restored.
        dataset: images at the network's size.
        chosen: indices of the images; at least one.
        pairs: elements of each norm over all images, more where it has many channels.
        seed: of the choice.
        device: where to compute.
        progress: called with the number of images done.

    Raises:
        DataError: an image or mask breaks a rule.
    """
    layers = norm_layers(model)
    parts: list[list[Floats]] = [[] for _ in layers]
    model.to(device)
    with evaluation_mode(model), torch.inference_mode():
        for done, index in enumerate(chosen):
            sample = dataset[index]
            with ExitStack() as hooks:
                for number, layer in enumerate(layers):
                    wanted = math.ceil(max(pairs, PAIRS_PER_CHANNEL * layer.channels) / len(chosen))
                    generator = np.random.default_rng([seed, number, index])
                    keep = _hook(layer, sample, wanted, generator, parts[number])
                    hooks.callback(layer.module.register_forward_hook(keep).remove)
                model.forward_features(model.metadata.normalize(sample.image[None].to(device)))
            if progress is not None:
                progress(done + 1)
    samples = []
    for layer, collected in zip(layers, parts, strict=True):
        inputs, cores, outputs, channels = np.concatenate(collected, axis=1)
        samples.append(NormSamples(layer, inputs, cores, outputs, channels.astype(np.int64)))
    return samples


def _hook(
    layer: NormLayer, sample: EvaluationSample, wanted: int, generator: np.random.Generator, parts: list[Floats]
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    """A forward hook that adds (4, n) to `parts`: inputs, cores, outputs, channels."""

    def keep(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        (tokens,) = arguments  # (1, N, C)
        valid_rows, valid_columns = (math.ceil(side / layer.stride) for side in sample.valid_size)
        columns = sample.image.shape[2] // layer.stride  # the image's sides are multiples of every stride
        elements = valid_rows * valid_columns * layer.channels
        flat = generator.choice(elements, min(wanted, elements), replace=False)
        position, channel = np.divmod(flat, layer.channels)
        # A core needs whole tokens; each one is taken once.
        positions, owner = np.unique(position, return_inverse=True)
        row, column = np.divmod(positions, valid_columns)
        token = torch.from_numpy(row * columns + column).to(tokens.device)
        x, y = tokens[0, token].float(), output[0, token].float()
        values = torch.stack([x, layer.module.core(x), y]).cpu().numpy()[:, owner, channel]
        parts.append(np.concatenate([values, channel[None]]).astype(np.float64))

    return keep
