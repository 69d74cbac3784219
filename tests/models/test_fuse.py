"""The deploy form against the model it came from, in every variant, norm and form."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import effiseg
from effiseg.errors import ModelError
from effiseg.inference.label_map import label_map
from effiseg.models.fuse import FusedSegFormer, fuse, torch_form
from effiseg.models.metadata import ModelMetadata
from effiseg.models.normalization import DynamicErf, DynamicNorm
from effiseg.models.segformer import SegFormer

NORMS = ("layer_norm", "dyt", "dyl")
NORM_PAIRS = list(product(NORMS, NORMS))
TESTED_PAIRS = [
    pytest.param(*pair, marks=[] if len(set(pair)) == 1 or pair == ("dyt", "dyl") else [pytest.mark.heavy])
    for pair in NORM_PAIRS
]
"""Every norm in both places and the paper's pair; what else there is takes minutes."""
SIZES = ((65, 97), (64, 96), (33, 129))
FORMS = list(product(("linear", "conv"), ("sdpa", "matmul")))
NORMALIZING = {"LayerNormalization", "BatchNormalization", "InstanceNormalization", "ReduceMean", "Sqrt", "Pow"}


def randomized(variant: str, patch_norm: str, block_norm: str, classes: int = 7) -> SegFormer:
    """A model whose every parameter and statistic differs from its start, in evaluation mode."""
    torch.manual_seed(0)
    model = SegFormer(variant, classes, patch_norm, block_norm)  # type: ignore[arg-type]
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "bias":
                nn.init.normal_(parameter, std=0.2)
            elif name == "alpha":
                nn.init.uniform_(parameter, 0.3, 0.9)
            elif parameter.ndim == 1:
                nn.init.uniform_(parameter, 0.5, 1.5)
            else:
                nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model.eval()


def error(found: Tensor, expected: Tensor) -> float:
    """Largest difference, as a share of the expected range."""
    assert found.shape == expected.shape
    return ((found - expected).abs().max() / (expected.max() - expected.min())).item()


@pytest.mark.parametrize(("patch_norm", "block_norm"), TESTED_PAIRS)
def test_the_same_logits_for_all_norms_in_all_forms(patch_norm: str, block_norm: str) -> None:
    model = randomized("b0", patch_norm, block_norm)
    for dtype, most in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        model = model.to(dtype)
        batches = [torch.randn(2, 3, *size, dtype=dtype) for size in SIZES]
        with torch.inference_mode():
            expected = [model(images) for images in batches]
            for pointwise, attention in FORMS:
                fused = fuse(model, pointwise=pointwise, attention=attention)  # type: ignore[arg-type]
                for images, logits in zip(batches, expected, strict=True):
                    assert error(fused(images), logits) <= most, (dtype, pointwise, attention, images.shape)


@pytest.mark.parametrize(("pointwise", "head"), [("linear", "conv"), ("conv", "linear")])
def test_a_head_of_the_other_form_computes_the_same(pointwise: str, head: str) -> None:
    model = randomized("b0", "dyt", "dyl")
    fused = fuse(model, pointwise=pointwise, head=head)  # type: ignore[arg-type]
    assert fused.head.classifier.form == head
    with torch.inference_mode():
        for size in SIZES:
            images = torch.randn(2, 3, *size)
            assert error(fused(images), model(images)) <= 1e-5, size


@pytest.mark.parametrize(("patch_norm", "block_norm"), TESTED_PAIRS)
@pytest.mark.parametrize("variant", ["b1", pytest.param("b2", marks=pytest.mark.heavy)])
def test_the_same_logits_for_larger_variants(variant: str, patch_norm: str, block_norm: str) -> None:
    model = randomized(variant, patch_norm, block_norm)
    images = torch.randn(1, 3, 65, 97)
    with torch.inference_mode():
        assert error(fuse(model, pointwise="linear")(images), model(images)) <= 1e-5
        assert error(fuse(model, pointwise="conv")(images), model(images)) <= 1e-5


@pytest.mark.heavy
@pytest.mark.parametrize("variant", ["b3", "b4", "b5"])
def test_the_same_logits_for_the_largest_variants(variant: str) -> None:
    """With residual branches at a tenth: as drawn, 41 blocks without LayerNorm amplify any rounding, so that even
    the model's own float32 logits are off from its float64 ones by 6e-3 of their range (b4; 6e-2 for b5)."""
    model = randomized(variant, "dyt", "dyl")
    for name, parameter in model.named_parameters():
        if name.endswith(("attention.output.weight", "mlp.fc2.weight")):
            parameter.data *= 0.1
    images = torch.randn(1, 3, 65, 97)
    with torch.inference_mode():
        assert error(fuse(model)(images), model(images)) <= 1e-5
        model = model.double()
        assert error(fuse(model)(images.double()), model(images.double())) <= 1e-10
    model = randomized(variant, "layer_norm", "layer_norm")
    with torch.inference_mode():
        assert error(fuse(model)(images), model(images)) <= 1e-5


@pytest.mark.parametrize("pointwise", ["linear", "conv"])
def test_bytes_in(pointwise: str) -> None:
    model = randomized("b0", "dyt", "dyl").double()
    model.metadata = ModelMetadata(names=tuple("abcdefg"), mean=(0.2, 0.5, 0.7), std=(0.3, 0.2, 0.4))
    fused = fuse(model, input="uint8", pointwise=pointwise)  # type: ignore[arg-type]
    for size in SIZES:
        images = torch.randint(0, 256, (2, *size, 3), dtype=torch.uint8)
        mean, std = (torch.tensor(v, dtype=torch.float64) for v in (model.metadata.mean, model.metadata.std))
        normalized = ((images / 255.0 - mean) / std).permute(0, 3, 1, 2)
        with torch.inference_mode():
            # /255 is torch's float32 division, the largest error here.
            assert error(fused(images), model(normalized)) <= 1e-6
            assert error(fused(images), model(model.metadata.normalize(images.permute(0, 3, 1, 2)).double())) <= 1e-6


@pytest.mark.parametrize("pointwise", ["linear", "conv"])
def test_labels_out_are_those_of_the_model(pointwise: str) -> None:
    model = randomized("b0", "layer_norm", "layer_norm").double()
    fused = fuse(model, output="labels", pointwise=pointwise)  # type: ignore[arg-type]
    for size in SIZES:
        images = torch.randn(2, 3, *size, dtype=torch.float64)
        with torch.inference_mode():
            labels, logits = fused(images), model(images)
        assert labels.dtype == torch.uint8
        assert labels.shape == (2, *size)
        for found, expected in zip(labels, logits, strict=True):
            assert torch.equal(found, label_map(expected, size))
    assert len(labels.unique()) > 3


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision(kind: torch.dtype) -> None:
    model = randomized("b0", "dyt", "dyl")
    images = torch.randint(0, 256, (1, 65, 97, 3), dtype=torch.uint8)
    with torch.inference_mode():
        expected = fuse(model, input="uint8")(images)
        for pointwise in ("linear", "conv"):
            logits = fuse(model, input="uint8", pointwise=pointwise).to(kind)(images)  # type: ignore[arg-type]
            assert logits.dtype == kind
            assert error(logits.float(), expected) < 0.1
        assert fuse(model.to(kind), input="uint8", output="labels")(images).dtype == torch.uint8


def test_the_model_is_left_alone_and_shares_no_memory() -> None:
    model = randomized("b0", "dyt", "dyl").train()
    before = copy.deepcopy(model.state_dict())
    fused = fuse(model)
    images = torch.randn(1, 3, 64, 64)
    kept = images.clone()
    with torch.inference_mode():
        expected = fused(images)
        for parameter in model.parameters():
            parameter.add_(1)
        assert torch.equal(fused(images), expected)
        for parameter in model.parameters():
            parameter.sub_(1)
    assert torch.equal(images, kept)
    assert model.training
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-6)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_it_computes_evaluation_also_of_a_model_in_training() -> None:
    model = randomized("b0", "layer_norm", "dyl")
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = model(images)
        fused = fuse(model.train()).train()
        assert error(fused(images), expected) <= 1e-5
        assert torch.equal(fused(images), fused(images))


def test_copies_and_saved_weights_compute_the_same(tmp_path: Path) -> None:
    model = randomized("b0", "dyt", "dyl")
    fused = fuse(model, input="uint8")
    images = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    torch.save(fused.state_dict(), tmp_path / "weights.pt")
    other = fuse(randomized("b0", "dyt", "dyl").apply(_spoil), input="uint8")
    with torch.inference_mode():
        expected = fused(images)
        assert torch.equal(copy.deepcopy(fused)(images), expected)
        assert not torch.equal(other(images), expected)
        other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
        assert torch.equal(other(images), expected)


def _spoil(module: nn.Module) -> None:
    for parameter in module.parameters(recurse=False):
        nn.init.normal_(parameter)


def test_nothing_is_trained_and_nothing_of_training_is_left() -> None:
    model = randomized("b0", "dyt", "dyl")
    fused = fuse(model)
    assert not any(parameter.requires_grad for parameter in fused.parameters())
    kinds = {type(module) for module in fused.modules()}
    assert not kinds & {nn.BatchNorm2d, nn.LayerNorm, nn.Dropout, nn.Dropout2d}
    # What is left of 3.7 M: the encoder without its norms and k's biases, and four small products for the head.
    assert sum(p.numel() for p in fused.parameters()) < sum(p.numel() for p in model.encoder.parameters()) + 150_000


def test_attributes_are_those_of_the_model() -> None:
    model = randomized("b0", "dyt", "dyl")
    model.metadata = ModelMetadata(names=tuple("abcdefg"))
    fused = effiseg.fuse(model, input="uint8", output="labels", pointwise="conv")
    assert isinstance(fused, FusedSegFormer)
    assert (fused.variant, fused.num_classes, fused.metadata) == ("b0", 7, model.metadata)
    assert (fused.input, fused.output, fused.pointwise) == ("uint8", "labels", "conv")
    assert not fused.training


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fuse(nn.Linear(1, 1)), "found Linear"),  # type: ignore[arg-type]
        (lambda: fuse(SegFormer("b0", 3), pointwise="matmul"), "pointwise must be one of linear, conv"),  # type: ignore[arg-type]
        (lambda: fuse(SegFormer("b0", 256), output="labels"), "at most 255 classes; found 256"),
        (lambda: fuse(SegFormer("b0", 3))(torch.zeros(1, 3, 31, 64)), "at least 32x32"),
        (lambda: fuse(SegFormer("b0", 3), input="uint8")(torch.zeros(1, 64, 64, 3)), "found float32"),
        (lambda: fuse(SegFormer("b0", 3), input="uint8")(torch.zeros(1, 64, 31, 3, dtype=torch.uint8)), "found 64x31"),
    ],
)
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        call()


@pytest.mark.heavy
@pytest.mark.parametrize(("pointwise", "attention"), [("linear", "sdpa"), ("conv", "matmul")])
def test_torch_export_with_dynamic_sizes(pointwise: str, attention: str) -> None:
    model = randomized("b0", "dyt", "dyl")
    fused = fuse(model, input="uint8", output="labels", pointwise=pointwise, attention=attention)  # type: ignore[arg-type]
    sides = {axis: torch.export.Dim(name, min=64, max=4096) for axis, name in ((1, "H"), (2, "W"))}
    example = torch.zeros(1, 97, 129, 3, dtype=torch.uint8)
    exported = torch.export.export(fused, (example,), dynamic_shapes=(sides,)).module()
    for size in ((64, 96), (65, 97), (130, 67)):
        images = torch.randint(0, 256, (1, *size, 3), dtype=torch.uint8)
        assert torch.equal(exported(images), fused(images))


@pytest.mark.parametrize(
    ("pointwise", "attention"), [pytest.param("linear", "sdpa", marks=pytest.mark.heavy), ("conv", "matmul")]
)
def test_no_normalization_is_left_in_onnx(pointwise: str, attention: str, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs effiseg[onnx]")
    pytest.importorskip("onnxscript", reason="needs effiseg[onnx]")
    runtime = pytest.importorskip("onnxruntime", reason="needs effiseg[onnx]")
    model = randomized("b0", "dyt", "dyl")
    fused = fuse(model, pointwise=pointwise, attention=attention)  # type: ignore[arg-type]
    sides = {axis: torch.export.Dim(name, min=64, max=4096) for axis, name in ((2, "H"), (3, "W"))}
    program = torch.onnx.export(
        fused, (torch.zeros(1, 3, 97, 129),), dynamo=True, dynamic_shapes=(sides,), verbose=False
    )
    assert program is not None
    program.save(tmp_path / "model.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert not set(operators) & NORMALIZING
    assert operators.count("Tanh") == 4
    assert operators.count("Softmax") == 8
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    images = torch.randn(1, 3, 65, 130)
    (logits,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.inference_mode():
        assert error(torch.from_numpy(logits), model(images)) <= 1e-5


def test_without_the_correction_of_the_border_the_logits_are_wrong() -> None:
    """A constant instead of it, right inside: visibly wrong, so that the tests above mean something."""
    model = randomized("b0", "dyt", "dyl")
    fused = fuse(model)
    for stage in fused.stages:
        for module in stage.modules():
            if getattr(module, "border", None) is not None:
                constant = module.border.sum((1, 2, 3))  # what the correction adds inside
                module.bias.data += constant
                module.border = None
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        assert error(fused(images), model(images)) > 1e-3


def test_torch_computes_convolutions_on_a_cpu_unless_told_otherwise() -> None:
    assert (torch_form("cpu"), torch_form("cpu", compiled=True), torch_form("cuda")) == ("conv", "linear", "linear")
    model = randomized("b0", "dyt", "dyl")
    assert fuse(model).pointwise == "conv"
    assert fuse(model).head.classifier.form == "conv"
    assert fuse(model, pointwise="linear").pointwise == "linear"


@pytest.mark.parametrize(("patch_norm", "block_norm"), [*product(("dyt", "dyl"), ("dyt", "dyl")), ("derf", "derf")])
def test_centered_norms_fold_exactly(patch_norm: str, block_norm: str) -> None:
    model = randomized("b0", patch_norm, block_norm).double()
    for module in model.modules():
        if isinstance(module, DynamicNorm):
            module.centered = True
        if isinstance(module, DynamicErf):
            nn.init.normal_(module.shift)
    images = torch.randn(1, 3, 33, 65, dtype=torch.float64)
    with torch.inference_mode():
        expected = model(images)
        for pointwise in ("linear", "conv"):
            fused = fuse(model, pointwise=pointwise)  # type: ignore[arg-type]
            assert error(fused(images), expected) <= 1e-10, pointwise
    means = [module for module in fused.modules() if getattr(module, "centered", False)]
    # Only a tanh that reads the residual path must center by itself: two norms a block, one a stage.
    assert len(means) == (0 if block_norm == "dyl" else 20)
