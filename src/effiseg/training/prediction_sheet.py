"""What trackers see of an evaluation: a few images, their truth and what the network makes of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.samples import evenly_spread, list_samples
from effiseg.evaluation.evaluator import compare
from effiseg.inference.framed_network import FramedNetwork
from effiseg.inference.framing import Framing
from effiseg.inference.network import trained_network
from effiseg.models.segformer import SegFormer
from effiseg.visualization.sheet import prediction_sheet

_SAMPLES = 4


def sheet_of_predictions(model: SegFormer, spec: DatasetSpec, device: torch.device | str) -> npt.NDArray[np.uint8]:
    """Samples spread over val, the same ones every time, as (H, W, 3) uint8 RGB.

    Args:
        model: what was evaluated.
        spec: the data set; it has a val split.
        device: where to predict.
    """
    samples = evenly_spread(list_samples(spec, "val"), _SAMPLES)
    framed = FramedNetwork(trained_network(model, device), Framing(batch_size=1))
    shown = [
        (sample.read_image(), found.target.cpu().numpy(), found.prediction.cpu().numpy())
        for sample, found in zip(samples, compare(framed, samples, spec), strict=True)
    ]
    return prediction_sheet(shown, spec.palette)
