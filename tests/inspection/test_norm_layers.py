"""Every norm is found, once, at its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from torch import nn

from effiseg.config.model import Norm
from effiseg.inspection.norm_layers import norm_layers
from effiseg.models.normalization import DynamicLinear, DynamicTanh
from effiseg.models.segformer import SegFormer


@pytest.mark.parametrize(
    ("variant", "counts"),
    [
        ("b0", {"patch_embedding": 4, "before_attention": 8, "after_reduction": 6, "before_mlp": 8, "stage_end": 4}),
        ("b2", {"patch_embedding": 4, "before_attention": 16, "after_reduction": 13, "before_mlp": 16, "stage_end": 4}),
    ],
)
def test_counts_of_each_place(make_model: Callable[..., SegFormer], variant: str, counts: dict[str, int]) -> None:
    model = make_model(variant)
    layers = norm_layers(model)
    assert Counter(layer.place for layer in layers) == counts
    expected = {id(module) for module in model.modules() if isinstance(module, nn.LayerNorm)}
    assert {id(layer.module) for layer in layers} == expected
    assert len(layers) == len(expected)


@pytest.mark.parametrize(("patch", "block"), [("layer_norm", "layer_norm"), ("dyt", "dyl"), ("dyl", "dyt")])
def test_kinds_and_names(make_model: Callable[..., SegFormer], patch: Norm, block: Norm) -> None:
    model = make_model("b0", patch, block)
    layers = norm_layers(model)
    assert {layer.kind for layer in layers if layer.place == "patch_embedding"} == {patch}
    assert {layer.kind for layer in layers if layer.place != "patch_embedding"} == {block}
    for layer in layers:
        assert model.get_submodule(layer.name) is layer.module
        assert isinstance(layer.module, nn.LayerNorm | DynamicTanh | DynamicLinear)
        assert layer.channels == model.embed_dims[layer.stage - 1]


def test_places_follow_from_the_names(make_model: Callable[..., SegFormer]) -> None:
    ends = {
        "patch_embedding": "patch_embedding.norm",
        "before_attention": "norm1",
        "after_reduction": "attention.reduction_norm",
        "before_mlp": "norm2",
    }
    for layer in norm_layers(make_model("b0")):
        stage = f"encoder.stages.{layer.stage - 1}."
        block = "" if layer.block is None else f"blocks.{layer.block - 1}."
        assert layer.name == stage + block + ends.get(layer.place, "norm")
        assert layer.stride == (32 if layer.place == "after_reduction" else 4 * 2 ** (layer.stage - 1))
