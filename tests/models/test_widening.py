"""B1 from B0: twice the channels, the same function, and twins that noise parts."""

from __future__ import annotations

import torch

from effiseg.models.segformer import SegFormer
from effiseg.models.widening import widened


def network(variant: str, seed: int = 0) -> SegFormer:
    torch.manual_seed(seed)
    model = SegFormer(variant, 5).double().eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():  # norms, biases and all as a trained network has them
            parameter.add_(0.1 * torch.randn_like(parameter))
        model.decode_head.batch_norm.running_mean.normal_()
        model.decode_head.batch_norm.running_var.uniform_(0.5, 2.0)
    return model


def test_without_noise_it_computes_the_same() -> None:
    narrow, wide = network("b0"), network("b1", seed=1)
    wide.load_state_dict(widened(narrow.state_dict(), noise=0.0))
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        expected, found = narrow(images), wide(images)
        features = narrow.encoder(images).feature_maps, wide.encoder(images).feature_maps
    assert (found - expected).abs().max() < 1e-10 * expected.abs().max()
    for small, large in zip(*features, strict=True):
        torch.testing.assert_close(large, small.repeat_interleave(2, dim=1))


def test_noise_parts_the_twins_and_hardly_moves_the_function() -> None:
    narrow, wide = network("b0"), network("b1", seed=1)
    weights = {name: tensor.float() for name, tensor in narrow.state_dict().items()}
    wide.load_state_dict(widened(weights))
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    wide(images).square().mean().backward()
    gradient = wide.encoder.stages[2].blocks[1].mlp.fc1.weight.grad  # type: ignore[union-attr,index]
    assert gradient is not None
    assert (gradient[0::2] - gradient[1::2]).abs().mean() > 1e-3 * gradient.abs().mean()
    with torch.no_grad():
        expected = narrow(images)
        difference = (wide(images) - expected).std() / expected.std()
    assert 0 < difference < 0.2


def test_noise_is_a_function_of_its_seed() -> None:
    weights = {name: tensor.float() for name, tensor in network("b0").state_dict().items()}
    first, again, other = widened(weights), widened(weights), widened(weights, seed=1)
    name = "encoder.stages.0.blocks.0.mlp.fc1.weight"
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])


def test_all_shapes_are_those_of_b1() -> None:
    found = widened(network("b0").state_dict())
    assert {name: tensor.shape for name, tensor in found.items()} == {
        name: tensor.shape for name, tensor in network("b1").state_dict().items()
    }
