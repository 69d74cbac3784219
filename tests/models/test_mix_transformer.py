"""Memory shared between tokens and maps, stochastic depth, where each norm goes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from effiseg.models.mix_transformer import MixTransformer, add_branch, as_map, as_tokens
from effiseg.models.normalization import DynamicLinear, DynamicTanh, LayerNorm
from effiseg.models.shape import SHAPES


class CountCopies(TorchDispatchMode):
    """Counts the tensors that operators copy into another layout."""

    def __init__(self) -> None:
        super().__init__()
        self.copies = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.copies += func.overloadpacket in (
            torch.ops.aten.clone,
            torch.ops.aten.copy_,
            torch.ops.aten._to_copy,
        )
        return func(*args, **(kwargs or {}))


def test_tokens_and_maps_are_two_views_of_one_memory() -> None:
    tokens = torch.randn(2, 15, 8)
    seen = as_map(tokens, 3, 5)
    assert seen.shape == (2, 8, 3, 5)
    assert seen.is_contiguous(memory_format=torch.channels_last)
    assert seen.data_ptr() == as_tokens(seen).data_ptr() == tokens.data_ptr()
    assert torch.equal(as_tokens(seen), tokens)


@pytest.mark.parametrize("size", [(64, 96), (65, 97)])
def test_the_encoder_copies_no_layout(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    encoder = MixTransformer(SHAPES["b0"]).eval()
    images = torch.randn(2, 3, *size).contiguous(memory_format=torch.channels_last)
    with torch.no_grad(), CountCopies() as counter:
        features = encoder(images)
    assert counter.copies == 0
    for feature_map, embedding in zip(*features, strict=True):
        assert feature_map.is_contiguous(memory_format=torch.channels_last)
        assert embedding.is_contiguous()


def test_stochastic_depth_takes_or_leaves_whole_samples() -> None:
    torch.manual_seed(0)
    tokens, branch = torch.randn(4000, 2, 3), torch.randn(4000, 2, 3)
    kept = ((add_branch(tokens, branch, 0.25) - tokens) * 0.75 / branch).flatten(1)
    taken = kept.mean(1).round()
    torch.testing.assert_close(kept, taken[:, None].expand_as(kept), rtol=0, atol=2e-3)
    assert abs(taken.mean().item() - 0.75) < 0.03  # four standard deviations
    assert torch.equal(add_branch(tokens, branch, 0.0), tokens + branch)


def test_drop_rates_grow_linearly_and_only_training_draws() -> None:
    encoder = MixTransformer(SHAPES["b0"], drop_path_rate=0.7)
    rates = [block.drop_path_rate for stage in encoder.stages for block in stage.blocks]
    assert rates == pytest.approx([0.1 * index for index in range(8)])
    images = torch.randn(4, 3, 32, 32)
    encoder.eval()
    assert torch.equal(encoder(images).feature_maps[3], encoder(images).feature_maps[3])
    encoder.train()
    assert not torch.equal(encoder(images).feature_maps[3], encoder(images).feature_maps[3])


def test_each_norm_stands_where_it_was_asked_for() -> None:
    encoder = MixTransformer(SHAPES["b0"], "dyt", "dyl")
    norms = {
        name: type(module)
        for name, module in encoder.named_modules()
        if isinstance(module, (LayerNorm, DynamicTanh, DynamicLinear))
    }
    patch = {name for name in norms if name.endswith("patch_embedding.norm")}
    # 4 patch norms; others: 2 in each of 8 blocks, 1 per reducing block (3 stages of 2), 1 per stage
    assert len(patch) == 4
    assert len(norms) - len(patch) == 16 + 6 + 4
    assert {norms[name] for name in patch} == {DynamicTanh}
    assert {kind for name, kind in norms.items() if name not in patch} == {DynamicLinear}


def test_layer_norms_take_the_epsilon() -> None:
    norms = [
        module for module in MixTransformer(SHAPES["b0"], norm_eps=1e-3).modules() if isinstance(module, LayerNorm)
    ]
    assert {norm.eps for norm in norms} == {1e-3}
