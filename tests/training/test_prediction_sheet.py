"""The sheet that trackers show of an evaluation."""

from __future__ import annotations

from pathlib import Path

import torch

from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.reading import read_mask
from effiseg.data.samples import list_samples
from effiseg.models.metadata import ModelMetadata
from effiseg.models.segformer import SegFormer
from effiseg.training.prediction_sheet import sheet_of_predictions
from effiseg.visualization.label_colours import colour_map


def test_the_sheet_shows_val(colour_data: Path) -> None:
    spec = load_dataset_spec(colour_data)
    torch.manual_seed(0)
    model = SegFormer("b0", 3)
    model.metadata = ModelMetadata(names=spec.names, palette=spec.palette, image_size=(32, 64))
    model.train()
    sheet = sheet_of_predictions(model, spec, "cpu")
    assert model.training
    samples = list_samples(spec, "val")
    truth = read_mask(samples[0].mask, spec)
    height, width = truth.shape
    assert sheet.shape == (len(samples) * height + (len(samples) - 1) * 4, 3 * width + 8, 3)
    assert (sheet[:height, width + 4 : 2 * width + 4] == colour_map(truth, spec.palette)).all()
