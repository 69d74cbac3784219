"""Shapes: the table of named sizes, networks of every kind of shape, and shapes that make none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from effiseg.benchmark.complexity import complexity
from effiseg.errors import ModelError
from effiseg.inspection.norm_layers import norm_layers
from effiseg.models.classic_names import classic_name
from effiseg.models.fuse import fuse
from effiseg.models.pretrained import from_pretrained, save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.models.shape import SHAPES, Shape, shape_of

ALL_CONV = Shape((16, 24, 32, 48), (1, 2, 1, 1), (1,) * 4, (1,) * 4, (2, 4, 3, 4), ("conv",) * 4, 40, 8)
FINE = Shape(
    (16, 24, 32, 48), (2, 1, 1, 1), (1, 3, 2, 4), (1, 8, 1, 1), stages=("conv", "attention", "attention", "attention"),
    decoder_width=48,
)  # fmt: skip
SMALL = {"n": SHAPES["n"], "s": SHAPES["s"], "all conv": ALL_CONV, "conv, stride 4": FINE}
NORMS = [("layer_norm", "layer_norm"), ("dyt", "dyl")]


def randomized(shape: Shape, patch_norm: str, block_norm: str) -> SegFormer:
    """A network whose every parameter and statistic differs from its start."""
    torch.manual_seed(0)
    model = SegFormer(shape, 5, patch_norm, block_norm)  # type: ignore[arg-type]
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            spread = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.2
            nn.init.normal_(parameter, 1.0 if parameter.ndim == 1 and name != "bias" else 0.0, spread)
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("norms", NORMS)
def test_battery_forward_backward_fuse_save_load(kind: str, norms: tuple[str, str], tmp_path: Path) -> None:
    shape = SMALL[kind]
    model = randomized(shape, *norms)
    stride = shape.output_stride
    for size in ((64, 96), (65, 97), (33, 47)):
        images = torch.randn(2, 3, *size)
        features = model.forward_features(images)
        assert [feature_map.shape[1] for feature_map in features.feature_maps] == list(shape.embed_dims)
        assert model.decode(features.feature_maps).shape == (2, 5, -(-size[0] // stride), -(-size[1] // stride))
    model(images).square().mean().backward()
    for name, parameter in model.named_parameters():
        read = not name.startswith("encoder.stages.0.norm") or model.output_stride == 4 or "bias" not in name
        assert not read or (parameter.grad is not None and parameter.grad.isfinite().all()), name
    model.eval()
    save_pretrained(model, tmp_path)
    loaded = from_pretrained(tmp_path)
    assert (loaded.shape, loaded.variant, loaded.output_stride) == (shape, shape.name, stride)
    with torch.inference_mode():
        assert torch.equal(loaded(images), model(images))
        model = model.double()
        for size, pointwise, attention in (((33, 47), "linear", "sdpa"), ((65, 96), "conv", "matmul")):
            images = torch.randn(2, 3, *size, dtype=torch.float64)
            expected = model(images)
            found = fuse(model, pointwise=pointwise, attention=attention)(images)  # type: ignore[arg-type]
            assert found.shape == expected.shape
            assert (found - expected).abs().max() <= 1e-10 * (expected.max() - expected.min())


def test_names_are_those_of_the_table_and_tell_other_shapes_apart() -> None:
    assert [shape.name for shape in SHAPES.values()] == list(SHAPES)
    assert shape_of("n") is SHAPES["n"]
    other = replace(SHAPES["b0"], reductions=(16, 4, 2, 1))
    assert other.name == "embed_dims 32/64/160/256, depths 2/2/2/2, reductions 16/4/2/1"
    assert SegFormer(other, 2).variant == other.name


def test_sides_that_files_of_any_size_take() -> None:
    assert [SHAPES[name].least_dynamic_side for name in ("n", "s", "b0", "b5")] == [64, 64, 64, 64]
    assert replace(SHAPES["b0"], reductions=(16, 4, 2, 1)).least_dynamic_side == 128


def test_the_small_sizes_cost_less_from_step_to_step() -> None:
    work = [complexity(name, 19, (512, 1024)) for name in ("n", "s", "b0")]
    totals = [row.gmacs_composed + row.gmacs_attention for row in work]
    assert totals == sorted(totals)
    assert [row.params for row in work] == sorted(row.params for row in work)
    assert work[0].params < 2.6e6


def test_macs_of_a_shape_are_those_that_torch_counts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    for shape in (ALL_CONV, FINE):
        with torch.device("meta"):
            fused_by_hand = SegFormer(shape, 7).eval()
            images = torch.zeros(1, 3, 96, 160)
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                fused_by_hand.encoder(images)
        row = complexity(shape, 7, (96, 160))
        head = _head_macs(shape, 7, (96, 160))
        # torch scores its fused attention on this device as what it is.
        counted = counter.get_total_flops() / 2e9
        assert counted == pytest.approx(row.gmacs - head + row.gmacs_attention, rel=1e-6)


def _head_macs(shape: Shape, classes: int, size: tuple[int, int]) -> float:
    places = [(size[0] // stride) * (size[1] // stride) for stride in (4, 8, 16, 32)]
    read = [(shape.embed_dims[stage], places[stage]) for stage in shape.head_stages]
    width = shape.decoder_width
    widened = sum(channels * width * count for channels, count in read)
    return (widened + read[0][1] * width * (len(read) * width + classes)) / 1e9


def test_config_carries_the_shape_and_transformers_is_not_misled(tmp_path: Path) -> None:
    save_pretrained(SegFormer(FINE, 2), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == "effiseg_segformer"
    assert config["hidden_sizes"] == [16, 24, 32, 48]
    assert config["effiseg"]["stages"] == ["conv", "attention", "attention", "attention"]
    assert config["effiseg"]["output_stride"] == 4
    save_pretrained(SegFormer("b0", 2), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["model_type"], config["sr_ratios"]) == ("segformer", [8, 4, 2, 1])
    assert not {"stages", "output_stride"} & set(config["effiseg"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"depths": [1, 1, 1, 1]}, "unknown"),
        ({"hidden_sizes": [24, 64, 128, 192]}, "of another shape"),
        ({"num_attention_heads": [1, 5, 3, 6]}, "multiple of its heads; stage 2"),
        ({"hidden_sizes": "wide"}, "embed_dims must be 4 whole numbers"),
        ({"decoder_hidden_size": 0.5}, "decoder_width must be a whole number"),
        ({"effiseg": {"output_stride": 16}}, "output_stride must be 4 or 8; found 16"),
        ({"effiseg": {"stages": ["conv"]}}, "stages must be 4 of attention, conv; found conv"),
        ({"effiseg": {"output_stride": 4}}, "missing"),
    ],
)
def test_a_shape_that_is_not_that_of_the_weights_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    save_pretrained(SegFormer("n", 2), tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    own = config["effiseg"] | changes.pop("effiseg", {})
    file.write_text(json.dumps(config | changes | {"effiseg": own}))
    with pytest.raises(ModelError, match=said) as caught:
        from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"embed_dims": (16, 32, 64)}, "embed_dims must be 4 whole numbers from 1 to 16384; found 16/32/64"),
        ({"depths": (0, 1, 1, 1)}, "depths must be 4 whole numbers"),
        ({"stages": ("conv",) * 4}, "must be 1 in a stage without attention; stage 1: 1, 8"),
        ({"stages": ("conv", "pool", "conv", "conv")}, "stages must be 4 of attention, conv"),
    ],
)
def test_numbers_that_make_no_network_are_refused(numbers: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        replace(SHAPES["b0"], **numbers)


def test_every_name_of_ours_has_one_classic_name() -> None:
    with torch.device("meta"):
        names = list(SegFormer(ALL_CONV, 2).state_dict())
    classic = [classic_name(name) for name in names]
    assert len(set(classic)) == len(classic)
    assert "segformer.encoder.block.1.1.dwconv_norm.running_var" in classic


def test_stages_of_convolutions_have_no_norms_to_inspect() -> None:
    assert {layer.stage for layer in norm_layers(SegFormer(FINE, 2))} == {2, 3, 4}
    assert norm_layers(SegFormer(ALL_CONV, 2)) == []
