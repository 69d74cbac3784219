"""From any images→logits callable and a split to results, in a stream."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from effiseg.config.data import Resize
from effiseg.config.training import Protocol
from effiseg.data.cache import SampleCache
from effiseg.data.dataset import EvaluationDataset, EvaluationSample, start_worker
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.samples import list_samples
from effiseg.errors import ModelError, UsageError
from effiseg.inference.label_map import enlarged_labels, label_map, whole_size
from effiseg.inference.network import padded_to
from effiseg.inference.predictor import choose_image_size
from effiseg.inference.runtimes import LoadedModel
from effiseg.metrics.confusion_matrix import (
    ConfusionMatrix,
    class_counts,
    class_iou,
    mean_accuracy,
    mean_iou,
    mean_iou_of_present,
    pixel_accuracy,
)
from effiseg.models.metadata import ModelMetadata
from effiseg.models.segformer import SegFormer
from effiseg.results import EvaluationResult

Predict = Callable[[Tensor], Tensor]
"""(B, 3, h, w) uint8 images → (B, K, ⌈h/4⌉, ⌈w/4⌉) logits of any floating dtype, or (B, h, w) uint8 labels."""
ImageScore = tuple[float | None, list[list[int]]]
"""What is kept of one image: mean IoU over its classes in percent, and its class counts (3, K)."""


def evaluate(
    predict: Predict,
    batches: Iterable[list[EvaluationSample]],
    spec: DatasetSpec,
    protocol: Protocol = "full",
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
    *,
    split: str = "val",
    across_processes: bool = False,
) -> EvaluationResult:
    """Score a callable on evaluation samples.

    One confusion matrix is counted on the device, and 3·K + 1 numbers are kept for each image. Neighbours of
    equal input size share a forward pass.

    Args:
        predict: images (B, 3, h, w) uint8 RGB on `device` → logits (B, K, ⌈h/4⌉, ⌈w/4⌉), or labels (B, h, w)
            where `protocol` is "full".
        batches: lists of evaluation samples, each list at most one forward pass large.
        spec: the data set that the labels belong to.
        protocol: "full" brings the logits to every label's original size by one bilinear interpolation, and
            labels by the nearest neighbour; "quarter" reduces the labels (nearest) to the size of the logits,
            as in the paper's published code.
        device: where `predict` wants its images.
        progress: called after every forward pass with the number of images done so far.
        split: name for the result.
        across_processes: add up the counts of all processes of `torch.distributed`, which must have been
            given disjoint samples.

    Returns:
        The result, with `model`, `image_size` and `resize` left for the caller to describe.
    """
    matrix = ConfusionMatrix(spec.num_classes, spec.ignore_index, device)
    scores: dict[str, ImageScore] = {}
    with torch.inference_mode():
        for samples in _equal_shapes(batches):
            images = torch.stack([sample.image for sample in samples]).to(device, non_blocking=True)
            answers = predict(images)
            assert answers.ndim == 3 or answers.shape[1] == spec.num_classes, answers.shape
            for sample, answer in zip(samples, answers, strict=True):
                prediction, target = _compared(sample, answer, protocol)
                scores[sample.id] = score_image(matrix.update(prediction, target))
            if progress is not None:
                progress(len(scores))
    counts = matrix.counts
    if across_processes:
        counts, scores = merge_across_processes(counts, scores)
    return result_of_counts(counts, scores, spec, split, protocol)


def evaluate_model(
    model: SegFormer,
    spec: DatasetSpec,
    split: str,
    *,
    protocol: Protocol = "full",
    image_size: tuple[int, int] | None = None,
    resize: Resize | None = None,
    batch_size: int = 4,
    device: torch.device | str = "cpu",
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
    across_processes: bool = False,
    source: str = "the model",
    cache: SampleCache | None = None,
) -> EvaluationResult:
    """Score a model on a split.

    The model is moved to `device` and evaluated in eval mode without gradients; its training mode is
    restored. No global random state is touched.

    Args:
        model: its metadata says how images are normalized and resized.
        spec: the data set; its classes must be the model's.
        split: its split to score.
        protocol: see `evaluate`.
        image_size: the network's input (height, width); default: the model's own.
        resize: keep_ratio or fixed; default: the model's own.
        batch_size: most images of one forward pass.
        device: where to compute.
        workers: loader processes; 0 decodes in this process.
        progress: called with (images done, images in all) of this process.
        across_processes: every process of `torch.distributed` takes its part of the split and gets the whole
            result; all of them must call it.
        source: what the model is called in the result and in errors.
        cache: where decoded pairs are kept, for evaluation at this input size.

    Raises:
        DataError: the split, an image or a mask breaks a rule.
        ModelError: the model's classes are not the data set's.
        UsageError: the model does not know its input size, and none was given.
    """
    check_classes(model, spec, source)
    metadata = model.metadata
    input_size = choose_image_size(source, None, metadata.image_size, image_size)
    method = resize or metadata.resize
    dataset = EvaluationDataset(list_samples(spec, split), spec, input_size, method, cache)
    share = range(len(dataset))
    if across_processes and dist.is_initialized():
        share = share[dist.get_rank() :: dist.get_world_size()]
    loader = _loader(Subset(dataset, share), batch_size, workers)
    model.to(device)
    with evaluation_mode(model):
        result = evaluate(
            lambda images: model(metadata.normalize(images)),
            loader,
            spec,
            protocol,
            device,
            None if progress is None else lambda done: progress(done, len(share)),
            split=split,
            across_processes=across_processes,
        )
    return replace(result, model=source, image_size=list(input_size), resize=method)


def evaluate_exported(
    model: LoadedModel,
    spec: DatasetSpec,
    split: str,
    *,
    protocol: Protocol = "full",
    image_size: tuple[int, int] | None = None,
    resize: Resize | None = None,
    batch_size: int = 4,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
    most_images: int | None = None,
    source: str = "the model",
) -> EvaluationResult:
    """Score an exported file on a split, on the CPU, as `evaluate_model` scores a model.

    A file of one size gets images padded to exactly that size: the model's own input where the sides are
    multiples of 32, else a little less padding than `evaluate_model` gives.

    Args:
        model: the loaded file.
        spec: the data set; its classes must be the model's.
        split: its split to score.
        protocol: see `evaluate`; "quarter" needs logits.
        image_size: the network's input (height, width); default: the file's, else the model's own.
        resize: keep_ratio or fixed; default: the model's own.
        batch_size: most images of one call.
        workers: loader processes; 0 decodes in this process.
        progress: called with (images done, images in all).
        most_images: take only so many, spread evenly over the split; None: all.
        source: what the model is called in the result and in errors.

    Raises:
        DataError: the split, an image or a mask breaks a rule.
        ModelError: the model's classes are not the data set's.
        UsageError: an input size that the file does not take, none at all, or labels under the protocol quarter.
    """
    check_classes(model, spec, source)
    record = model.record
    if protocol == "quarter" and record.output == "labels":
        raise UsageError(f"{source}: --protocol quarter compares logits; this file answers with labels")
    input_size = choose_image_size(source, record.input_size, model.metadata.image_size, image_size)
    method = resize or model.metadata.resize
    dataset = EvaluationDataset(list_samples(spec, split), spec, input_size, method)
    count = min(most_images or len(dataset), len(dataset))
    chosen = [index * len(dataset) // count for index in range(count)]
    batches: Iterable[list[EvaluationSample]] = _loader(Subset(dataset, chosen), batch_size, workers)
    if record.input_size is not None:
        batches = ([exactly(sample, input_size) for sample in batch] for batch in batches)
    result = evaluate(
        lambda images: torch.from_numpy(model(images.permute(0, 2, 3, 1))),
        batches,
        spec,
        protocol,
        progress=None if progress is None else lambda done: progress(done, count),
        split=split,
    )
    return replace(result, model=source, image_size=list(input_size), resize=method)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode, and every module back into its own mode afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def check_classes(model: SegFormer | LoadedModel, spec: DatasetSpec, source: str = "the model") -> None:
    """Refuse a model whose classes are not the data set's, in the same order.

    Case, blanks, hyphens and underscores do not matter; a model that never learned names (LABEL_0, …) only
    needs the right number.

    Raises:
        ModelError: the first difference is named.
    """
    theirs, ours = model.metadata.names, spec.names
    if len(theirs) != len(ours):
        raise ModelError(
            f"{source}: a model is evaluated on its own classes; it has {len(theirs)}, the data set "
            f"{spec.source} has {len(ours)}; give the data set it was trained on"
        )
    if theirs == ModelMetadata.unnamed(len(theirs)).names:
        return
    for index, (their_name, our_name) in enumerate(zip(theirs, ours, strict=True)):
        if _plain(their_name) != _plain(our_name):
            raise ModelError(
                f"{source}: a model is evaluated on its own classes; class {index} is {their_name!r} in the "
                f"model and {our_name!r} in the data set {spec.source}; give the data set it was trained on"
            )


def result_of_counts(
    counts: Tensor,
    scores: dict[str, ImageScore],
    spec: DatasetSpec,
    split: str,
    protocol: Protocol,
) -> EvaluationResult:
    """The measures that follow from (K, K+1) int64 counts, all in percent."""
    ious = class_iou(counts).tolist()
    return EvaluationResult(
        miou=percent(mean_iou(counts)),
        class_iou={name: percent(iou) for name, iou in zip(spec.names, ious, strict=True)},
        mean_accuracy=percent(mean_accuracy(counts)),
        pixel_accuracy=percent(pixel_accuracy(counts)),
        images=len(scores),
        split=split,
        protocol=protocol,
        names=list(spec.names),
        confusion=counts.tolist(),
        image_iou={name: iou for name, (iou, _) in sorted(scores.items())},
        image_counts={name: rows for name, (_, rows) in sorted(scores.items())},
        dataset=spec.name,
    )


def score_image(counts: Tensor) -> ImageScore:
    """What is kept of one image with these (K, K+1) counts."""
    return percent(mean_iou_of_present(counts)), class_counts(counts).tolist()


def merge_across_processes(counts: Tensor, scores: dict[str, ImageScore]) -> tuple[Tensor, dict[str, ImageScore]]:
    """Sum of the counts and union of the images over all processes; the arguments themselves if there is one.

    Every process must call it, and every process gets the whole.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return counts, scores
    counts = counts.clone()
    dist.all_reduce(counts)
    parts: list[dict[str, ImageScore]] = [{} for _ in range(dist.get_world_size())]
    dist.all_gather_object(parts, scores)
    return counts, {name: score for part in parts for name, score in part.items()}


def percent(fraction: float) -> float | None:
    """`fraction` × 100, or None for nan, which JSON does not have."""
    return None if math.isnan(fraction) else 100 * fraction


def _loader(dataset: Subset[EvaluationSample], batch_size: int, workers: int) -> DataLoader[list[EvaluationSample]]:
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=start_worker,
        generator=torch.Generator(),  # a loader draws its workers' seed: not from the training's random state
    )
    return loader


def exactly(sample: EvaluationSample, size: tuple[int, int]) -> EvaluationSample:
    """The sample with its padding cut or continued to `size`, which its valid part fits in."""
    return replace(sample, image=padded_to(sample.image, size))


def _equal_shapes(batches: Iterable[list[EvaluationSample]]) -> Iterator[list[EvaluationSample]]:
    for batch in batches:
        for _, samples in groupby(batch, key=lambda sample: tuple(sample.image.shape)):
            yield list(samples)


def full_size_labels(sample: EvaluationSample, answer: Tensor) -> Tensor:
    """The predicted labels, (H, W) uint8 on the answer's device, at the size of the sample's label.

    Args:
        sample: what the answer belongs to.
        answer: logits (K, ⌈h/4⌉, ⌈w/4⌉), brought to that size by one bilinear interpolation, or labels (h, w)
            uint8, brought there by the nearest neighbour.
    """
    (padded_height, padded_width), (height, width) = sample.image.shape[-2:], sample.label.shape
    size = whole_size((padded_height, padded_width), sample.valid_size, (height, width))
    enlarge = enlarged_labels if answer.ndim == 2 else label_map
    return enlarge(answer, size, (height, width))


def _compared(sample: EvaluationSample, answer: Tensor, protocol: Protocol) -> tuple[Tensor, Tensor]:
    """Prediction and target of one image, both (h, w) uint8 on the device, at the protocol's size."""
    label = sample.label.to(answer.device, non_blocking=True)
    height, width = sample.valid_size
    match protocol:
        case "full":
            return full_size_labels(sample, answer), label
        case "quarter":
            quarter = (math.ceil(height / 4), math.ceil(width / 4))
            return answer[:, : quarter[0], : quarter[1]].argmax(0), _nearest(_nearest(label, (height, width)), quarter)


def _nearest(label: Tensor, size: tuple[int, int]) -> Tensor:
    if label.shape == size:
        return label
    return F.interpolate(label[None, None], size=size, mode="nearest")[0, 0]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
