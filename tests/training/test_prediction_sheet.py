"""The sheet that TensorBoard shows of an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.reading import read_mask
from effiseg.data.samples import list_samples
from effiseg.models.metadata import ModelMetadata
from effiseg.models.segformer import SegFormer
from effiseg.training.prediction_sheet import log_prediction_sheet
from effiseg.visualization.label_colours import colour_map


def test_tensorboard_gets_a_sheet_of_val(colour_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is an extra")
    from lightning.pytorch.loggers import TensorBoardLogger
    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    spec = load_dataset_spec(colour_data)
    torch.manual_seed(0)
    model = SegFormer("b0", 3)
    model.metadata = ModelMetadata(names=spec.names, palette=spec.palette, image_size=(32, 64))
    model.train()
    logger = TensorBoardLogger(tmp_path, name="", version="")
    log_prediction_sheet(logger, model, spec, "cpu", 7)
    log_prediction_sheet(None, model, spec, "cpu", 7)
    assert model.training
    logger.experiment.flush()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    (event,) = events.Images("val_predictions")
    assert event.step == 7
    path = tmp_path / "sheet.png"
    path.write_bytes(event.encoded_image_string)
    sheet = np.asarray(Image.open(path).convert("RGB"))
    samples = list_samples(spec, "val")
    truth = read_mask(samples[0].mask, spec)
    height, width = truth.shape
    assert sheet.shape == (len(samples) * height + (len(samples) - 1) * 4, 3 * width + 8, 3)
    assert (sheet[:height, width + 4 : 2 * width + 4] == colour_map(truth, spec.palette)).all()
