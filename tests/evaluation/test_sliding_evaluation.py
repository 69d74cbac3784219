"""Evaluation by sliding windows and with mirror images, boundary IoU and the interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.reading import read_mask
from effiseg.data.samples import list_samples
from effiseg.evaluation.evaluator import evaluate
from effiseg.evaluation.predictions import PredictionFolder
from effiseg.inference.framing import Framing
from effiseg.inference.network import trained_network
from effiseg.inference.predictor import Predictor
from effiseg.metrics.boundary import boundary_counts
from effiseg.metrics.confusion_matrix import confusion_counts
from effiseg.models.metadata import ModelMetadata
from effiseg.models.segformer import SegFormer
from effiseg.prediction.pictures import encode_png
from effiseg.results import EvaluationResult


@pytest.fixture(scope="module")
def spec(colour_data: Path) -> DatasetSpec:
    return load_dataset_spec(colour_data)


@pytest.fixture(scope="module")
def model(spec: DatasetSpec) -> SegFormer:
    torch.manual_seed(0)
    model = SegFormer("b0", 3).eval()
    with torch.no_grad():
        model.decode_head.classifier.weight *= 40
    model.metadata = ModelMetadata(names=spec.names, image_size=(48, 64))
    return model


def test_images_in_one_window_are_evaluated_whole(model: SegFormer, spec: DatasetSpec) -> None:
    whole = evaluate(trained_network(model), Framing(batch_size=1), spec, "val", boundary=True)
    slide = evaluate(trained_network(model), Framing(mode="slide", stride=32), spec, "val", boundary=True)
    assert slide.confusion == whole.confusion
    assert slide.boundary_iou == whole.boundary_iou
    assert (whole.inference, slide.inference) == ("whole", "slide 48x64, stride 32")


@pytest.mark.parametrize("flip", [False, True])
def test_what_is_scored_is_what_is_predicted(model: SegFormer, spec: DatasetSpec, tmp_path: Path, flip: bool) -> None:
    options = {"mode": "slide", "window": (32, 32), "stride": 16, "flip": flip}
    result = evaluate(trained_network(model), Framing(**options), spec, "val", boundary=True)  # type: ignore[arg-type]
    predictor = Predictor(model, device="cpu", **options)  # type: ignore[arg-type]
    counts, near = torch.zeros(3, 4, dtype=torch.int64), np.zeros((3, 3), np.int64)
    for sample in list_samples(spec, "val"):
        found, truth = predictor(sample.image).labels, read_mask(sample.mask, spec)
        (tmp_path / f"{sample.id}.png").write_bytes(encode_png(found))
        counts += confusion_counts(torch.from_numpy(found), torch.from_numpy(truth), 3)
        near += boundary_counts(found, truth, 3)
    # The deploy form rounds otherwise.
    assert np.abs(np.array(result.confusion) - counts.numpy()).sum() <= 0.002 * counts.sum()
    both, in_truth, in_found = near
    expected = 100 * both / (in_truth + in_found - both)
    assert result.boundary_iou is not None
    assert list(result.boundary_iou.values()) == pytest.approx(expected.tolist(), abs=0.5)
    assert result.boundary_miou == pytest.approx(np.mean(list(result.boundary_iou.values())))  # type: ignore[arg-type]
    files = evaluate(PredictionFolder(tmp_path), Framing(), spec, "val", boundary=True)
    assert files.boundary_iou is not None
    assert list(files.boundary_iou.values()) == pytest.approx(expected.tolist())


def test_results_travel_and_old_ones_can_still_be_read(model: SegFormer, spec: DatasetSpec) -> None:
    result = evaluate(trained_network(model), Framing(flip=True), spec, "val", boundary=True)
    assert result.inference == "whole + mirror image"
    assert result.miou_interval is not None
    assert result.miou is not None
    assert result.miou_interval[0] <= result.miou <= result.miou_interval[1]
    value = result.to_dict()
    assert EvaluationResult.from_dict(value) == result
    for name in ("miou_interval", "boundary_miou", "boundary_iou", "inference", "form"):
        del value[name]
    old = EvaluationResult.from_dict(value)
    assert (old.miou_interval, old.boundary_iou, old.inference, old.form) == (None, None, "whole", None)
