"""Samples are elements of what the norms saw and gave."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from effiseg.config.model import Norm
from effiseg.data.dataset import EvaluationDataset
from effiseg.inspection.norm_layers import norm_layers
from effiseg.inspection.sampling import PAIRS_PER_CHANNEL, sample_norms
from effiseg.models.segformer import SegFormer

MakeModel = Callable[..., SegFormer]


@pytest.mark.parametrize(("patch", "block"), [("layer_norm", "layer_norm"), ("dyt", "dyl"), ("dyl", "dyt")])
def test_core_and_affine_make_the_output(
    make_model: MakeModel, dataset: EvaluationDataset, patch: Norm, block: Norm
) -> None:
    samples = sample_norms(make_model("b0", patch, block), dataset, [0, 2], pairs=100)
    assert len(samples) == 30
    for sample in samples:
        module = sample.layer.module
        weight, bias = (
            parameter.detach().double().numpy()[sample.channels] for parameter in (module.weight, module.bias)
        )
        scale = module.alpha.detach().double().numpy()[sample.channels] if sample.layer.kind == "dyl" else 1.0
        assert sample.outputs == pytest.approx(weight * scale * sample.cores + bias, abs=1e-4)
        assert sample.inputs.std() > 0
        if sample.layer.kind == "dyt":
            assert sample.cores == pytest.approx(np.tanh(module.alpha.item() * sample.inputs), abs=1e-5)


def test_every_element_of_a_small_map_is_taken_once_and_none_of_the_padding(
    make_model: MakeModel, dataset: EvaluationDataset
) -> None:
    model = make_model()
    sample = dataset[1]
    assert tuple(sample.image.shape) == (3, 64, 64)
    assert sample.valid_size == (48, 64)
    seen: dict[str, torch.Tensor] = {}
    for layer in norm_layers(model):
        layer.module.register_forward_hook(
            lambda module, inputs, output, name=layer.name: seen.setdefault(name, inputs[0].detach())
        )
    for taken in sample_norms(model, dataset, [1], pairs=10**6):
        layer = taken.layer
        rows, columns = -(-48 // layer.stride), 64 // layer.stride
        expected = seen[layer.name].view(64 // layer.stride, columns, layer.channels)[:rows].double()
        assert np.sort(taken.inputs) == pytest.approx(np.sort(expected.flatten().numpy()))
        counts = np.bincount(taken.channels, minlength=layer.channels)
        assert (counts == rows * columns).all()


def test_the_number_of_elements_is_bounded(make_model: MakeModel, dataset: EvaluationDataset) -> None:
    for sample in sample_norms(make_model(), dataset, [0, 1, 2], pairs=2000):
        layer = sample.layer
        wanted = -(-max(2000, PAIRS_PER_CHANNEL * layer.channels) // 3)
        there = -(-48 // layer.stride) * (64 // layer.stride) * layer.channels
        assert sample.inputs.size == 3 * min(wanted, there)


def test_the_choice_is_seeded_and_leaves_the_model_and_the_random_state_alone(
    make_model: MakeModel, dataset: EvaluationDataset
) -> None:
    model = make_model().train()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, again, other = (sample_norms(model, dataset, [0], pairs=50, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert model.encoder.training
    assert not any(layer.module._forward_hooks for layer in norm_layers(model))
    assert all((a.outputs == b.outputs).all() for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a.outputs, b.outputs) for a, b in zip(first, other, strict=True))
