"""What TensorBoard shows of an evaluation: a few images, their truth and what the network makes of them."""

from __future__ import annotations

import torch
from lightning.pytorch.loggers import TensorBoardLogger

from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.samples import list_samples
from effiseg.evaluation.label_maps import predicted_label_maps
from effiseg.models.segformer import SegFormer
from effiseg.visualization.sheet import prediction_sheet

_SAMPLES = 4


def log_prediction_sheet(
    logger: object, model: SegFormer, spec: DatasetSpec, device: torch.device | str, step: int
) -> None:
    """Give samples spread over val to TensorBoard, the same ones every time; any other logger gets nothing.

    Args:
        logger: the trainer's.
        model: what was evaluated.
        spec: the data set; it has a val split.
        device: where to predict.
        step: optimizer steps done.
    """
    if not isinstance(logger, TensorBoardLogger):
        return
    samples = list_samples(spec, "val")
    samples = samples[:: -(-len(samples) // _SAMPLES)]
    maps = predicted_label_maps(model, samples, spec, device=device)
    shown = [(sample.read_image(), label, found) for sample, (label, found) in zip(samples, maps, strict=True)]
    sheet = prediction_sheet(shown, spec.palette)
    logger.experiment.add_image("val_predictions", sheet, step, dataformats="HWC")
