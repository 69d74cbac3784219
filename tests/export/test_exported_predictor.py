"""Exported files label images as the model they were made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from effiseg.config.engine import ExportFormat
from effiseg.errors import UsageError
from effiseg.inference.predictor import Predictor
from effiseg.models.segformer import SegFormer

SIZE = (64, 96)


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    """Two whose padding fills the file's input, as the model pads them itself, and one of the input's own size."""
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (*size, 3), np.uint8) for size in ((50, 111), (100, 149), SIZE)]


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("onnx", {"image_size": SIZE}),
        ("onnx", {"image_size": SIZE, "output": "labels"}),
        ("openvino", {"image_size": SIZE, "output": "labels"}),
        pytest.param("openvino", {"dynamic": True}, marks=pytest.mark.heavy),
    ],
)
def test_the_file_labels_as_its_model(
    file_format: ExportFormat, options: dict[str, object], small_model: SegFormer,
    exported: Callable[..., Path], images: list[np.ndarray],
) -> None:  # fmt: skip
    predictor = Predictor(exported(file_format, **options), image_size=SIZE)
    expected = Predictor(small_model, device="cpu", image_size=SIZE)(images)
    for found, reference, image in zip(predictor(images), expected, images, strict=True):
        assert found.labels.shape == image.shape[:2]
        # A label map that is enlarged once more may differ where classes meet.
        share = 0.97 if "output" in options and image.shape[:2] != SIZE else 0.999
        assert (found.labels == reference.labels).mean() >= share
        assert len(np.unique(reference.labels)) > 1


def test_windows_are_of_the_files_size(
    small_model: SegFormer, exported: Callable[..., Path], images: list[np.ndarray]
) -> None:
    path = exported("onnx", image_size=SIZE)
    found = Predictor(path, mode="slide", stride=32)(images[0])
    expected = Predictor(small_model, device="cpu", mode="slide", window=SIZE, stride=32)(images[0])
    assert (found.labels == expected.labels).mean() >= 0.999
    with pytest.raises(UsageError, match=r"--window must be the size that the file was exported for, 64x96; found 32x"):
        Predictor(path, mode="slide", window=(32, 64))


def test_what_a_file_cannot_have_is_one_line(exported: Callable[..., Path]) -> None:
    labels, logits = exported("onnx", image_size=SIZE, output="labels"), exported("onnx", image_size=SIZE)
    for options in ({"flip": True}, {"mode": "slide"}, {"probabilities": True}):
        with pytest.raises(UsageError, match=r"needs logits; this file answers with labels"):
            Predictor(labels, **options)
    with pytest.raises(UsageError, match=r"--image_size must be the file's own, 64x96"):
        Predictor(logits, image_size=(128, 128))
    with pytest.raises(UsageError, match=r"exported file runs on the CPU"):
        Predictor(logits, device="cuda")
    with pytest.raises(UsageError, match=r"this file runs in onnxruntime; found the engine openvino"):
        Predictor(logits, engine="openvino")
