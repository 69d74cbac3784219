"""The label maps of a few samples, for looking at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from effiseg.config.data import Resize
from effiseg.data.dataset import EvaluationDataset
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.sample import Sample
from effiseg.data.transforms import UInt8Array
from effiseg.errors import UsageError
from effiseg.evaluation.evaluator import check_classes, evaluation_mode, full_size_labels
from effiseg.models.segformer import SegFormer


def predicted_label_maps(
    model: SegFormer,
    samples: Sequence[Sample],
    spec: DatasetSpec,
    *,
    image_size: tuple[int, int] | None = None,
    resize: Resize | None = None,
    device: torch.device | str = "cpu",
    source: str = "the model",
) -> Iterator[tuple[UInt8Array, UInt8Array]]:
    """Label and prediction of each sample at the label's original size, as protocol "full" compares them.

    The model's training mode is restored, also when the iteration is left early.

    Args:
        model: its metadata says how images are normalized and resized.
        samples: what to predict.
        spec: the data set.
        image_size: the network's input (height, width); default: the model's own.
        resize: keep_ratio or fixed; default: the model's own.
        device: where to compute; the model is moved there.
        source: what the model is called in errors.

    Yields:
        label and prediction, (H, W) uint8.

    Raises:
        DataError: an image or mask breaks a rule.
        ModelError: the model's classes are not the data set's.
        UsageError: the model does not know its input size, and none was given.
    """
    check_classes(model, spec, source)
    metadata = model.metadata
    size = image_size or metadata.image_size
    if size is None:
        raise UsageError(f"{source}: does not say its input size; give --image_size HEIGHTxWIDTH")
    dataset = EvaluationDataset(samples, spec, size, resize or metadata.resize)
    model.to(device)
    with evaluation_mode(model):
        for index in range(len(dataset)):
            sample = dataset[index]
            with torch.inference_mode():
                logits: Tensor = model(metadata.normalize(sample.image[None].to(device)))
                prediction = full_size_labels(sample, logits[0])
            yield sample.label.numpy(), prediction.cpu().numpy()
