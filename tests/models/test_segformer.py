"""The whole network: one battery over variants, norms and odd inputs; sizes; refusals."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch

from effiseg.errors import ModelError
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import from_pretrained, save_pretrained
from effiseg.models.segformer import SegFormer

NORMS = ("layer_norm", "dyt", "dyl")


@pytest.mark.parametrize(("patch_norm", "block_norm"), list(product(NORMS, NORMS)))
def test_battery_forward_backward_save_load(patch_norm: str, block_norm: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = SegFormer("b0", 5, patch_norm, block_norm)  # type: ignore[arg-type]
    images = torch.randn(2, 3, 33, 47)
    logits = model(images)
    assert logits.shape == (2, 5, 9, 12)
    logits.square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    model.eval()
    save_pretrained(model, tmp_path)
    loaded = from_pretrained(tmp_path)
    assert (loaded.patch_norm, loaded.block_norm) == (patch_norm, block_norm)
    assert not loaded.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
    assert torch.equal(model(images), loaded(images))


@pytest.mark.parametrize(
    ("variant", "millions"),
    [("b0", 3.719), ("b1", 13.68), ("b2", 27.36), ("b3", 47.24), ("b4", 64.01), ("b5", 84.61)],
)
def test_parameters_with_twenty_outputs(variant: str, millions: float) -> None:
    with torch.device("meta"):
        model = SegFormer(variant, 20)  # type: ignore[arg-type]
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.mark.parametrize("size", [(32, 32), (33, 32), (35, 61), (64, 127)])
def test_any_size_from_32_on_gives_a_quarter_rounded_up(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = SegFormer("b0", 3, "dyt", "dyl").eval()
    with torch.no_grad():
        features = model.forward_features(torch.randn(1, 3, *size))
        logits = model.decode(features.feature_maps)
    assert logits.shape == (1, 3, -(-size[0] // 4), -(-size[1] // 4))
    for stage, (feature_map, embedding) in enumerate(zip(*features, strict=True)):
        stride = 4 * 2**stage
        height, width = -(-size[0] // stride), -(-size[1] // stride)
        assert feature_map.shape == (1, model.embed_dims[stage], height, width)
        assert embedding.shape == (1, height * width, model.embed_dims[stage])


def test_features_and_decode_are_forward() -> None:
    torch.manual_seed(0)
    model = SegFormer("b0", 4).eval()
    images = torch.randn(1, 3, 40, 50)
    assert torch.equal(model.decode(model.forward_features(images).feature_maps), model(images))


def test_the_images_are_not_changed() -> None:
    model = SegFormer("b0", 4)
    images = torch.randn(2, 3, 33, 40)
    kept = images.clone()
    model(images)
    assert torch.equal(images, kept)


@pytest.mark.parametrize("training", [True, False])
def test_mixed_precision_stays_near_float32(training: bool) -> None:
    torch.manual_seed(0)
    model = SegFormer("b0", 4, "dyt", "dyl", drop_path_rate=0.2).train(training)
    images = torch.randn(2, 3, 64, 64)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    logits.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())
    if not training:
        reference = model(images)
        assert (logits.float() - reference).abs().max() < 0.05 * (reference.max() - reference.min())


def test_weights_start_as_documented() -> None:
    torch.manual_seed(0)
    model = SegFormer("b1", 19)
    fc1 = model.encoder.stages[3].blocks[0].mlp.fc1
    assert fc1.weight.std().item() == pytest.approx(0.02, rel=0.02)
    depthwise = model.encoder.stages[3].blocks[0].mlp.dwconv
    assert depthwise.weight.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.05)
    fuse = model.decode_head.linear_fuse
    assert fuse.weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.02)
    assert model.decode_head.classifier.weight.std().item() == pytest.approx(0.01, rel=0.05)
    biases = [value for name, value in model.named_parameters() if name.endswith("bias")]
    assert all(not bias.any() for bias in biases)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.zeros(1, 3, 31, 64), "at least 32x32 .*found 31x64"),
        (torch.zeros(1, 3, 64, 31), "at least 32x32 .*found 64x31"),
        (torch.zeros(1, 4, 64, 64), r"shape \(B, 3, H, W\); found \(1, 4, 64, 64\)"),
        (torch.zeros(3, 64, 64), r"shape \(B, 3, H, W\)"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "normalized floats.*found uint8"),
    ],
)
def test_images_it_cannot_take_are_refused_in_one_line(images: torch.Tensor, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        SegFormer("b0", 2)(images)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"variant": "b6", "num_classes": 2}, "b0, b1, b2, b3, b4, b5; found 'b6'"),
        ({"variant": "b0", "num_classes": 0}, "at least 1; found 0"),
        ({"variant": "b0", "num_classes": 2, "patch_norm": "batch_norm"}, "found 'batch_norm'"),
        ({"variant": "b0", "num_classes": 2, "drop_path_rate": 1.0}, "drop_path_rate must lie in"),
        ({"variant": "b0", "num_classes": 2, "classifier_dropout": -0.1}, "classifier_dropout must lie in"),
    ],
)
def test_settings_that_make_no_network_are_refused(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        SegFormer(**arguments)  # type: ignore[arg-type]


def test_metadata_must_name_the_models_classes() -> None:
    model = SegFormer("b0", 2)
    assert model.metadata.names == ("LABEL_0", "LABEL_1")
    model.metadata = ModelMetadata(names=("a", "b"))
    with pytest.raises(ModelError, match="2 classes; found 3 names"):
        model.metadata = ModelMetadata(names=("a", "b", "c"))
