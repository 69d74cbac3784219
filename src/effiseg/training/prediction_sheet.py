"""TensorBoard's view of an evaluation: a few images, their truth and what the network makes of them."""

from __future__ import annotations

import torch
from lightning.pytorch.loggers import TensorBoardLogger

from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.samples import evenly_spread, list_samples
from effiseg.evaluation.evaluator import compare
from effiseg.inference.framed_network import FramedNetwork
from effiseg.inference.framing import Framing
from effiseg.inference.network import trained_network
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
    samples = evenly_spread(list_samples(spec, "val"), _SAMPLES)
    framed = FramedNetwork(trained_network(model, device), Framing(batch_size=1))
    shown = [
        (sample.read_image(), found.target.cpu().numpy(), found.prediction.cpu().numpy())
        for sample, found in zip(samples, compare(framed, samples, spec), strict=True)
    ]
    sheet = prediction_sheet(shown, spec.palette)
    logger.experiment.add_image("val_predictions", sheet, step, dataformats="HWC")
