"""From any images→logits callable and a split to results, in a stream."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
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
from effiseg.data.transforms import fits
from effiseg.engines.engine import LoadedModel
from effiseg.errors import ModelError, UsageError
from effiseg.evaluation.scores import ImageScore, merge_across_processes, result_of_counts, score_image
from effiseg.inference.label_map import enlarged_labels, label_map, whole_size
from effiseg.inference.network import padded_to, passes_of_file
from effiseg.inference.predictor import Mode, choose_image_size, choose_windows, refuse_without_logits
from effiseg.inference.sliding_window import Predict, Windows, logit_bands, with_mirror_image
from effiseg.metrics.boundary import boundary_counts
from effiseg.metrics.confusion_matrix import ConfusionMatrix
from effiseg.models.metadata import ModelMetadata, plain_name
from effiseg.models.segformer import SegFormer
from effiseg.results import EvaluationResult


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
    windows: Windows | None = None,
    window_batch: int = 1,
    boundary: bool = False,
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
        windows: slide them over every image; batches are then one image each.
        window_batch: most windows of one pass.
        boundary: also take boundary IoU, where `protocol` is "full".

    Returns:
        The result, with `model`, `image_size`, `resize` and `inference` left for the caller to describe.
    """
    assert not (boundary and (across_processes or protocol != "full"))
    matrix = ConfusionMatrix(spec.num_classes, spec.ignore_index, device)
    scores: dict[str, ImageScore] = {}
    near_contours = np.zeros((3, spec.num_classes), np.int64)
    with torch.inference_mode():
        for samples in _equal_shapes(batches):
            images = torch.stack([sample.image for sample in samples]).to(device, non_blocking=True)
            if windows is None:
                answers = predict(images)
            else:
                bands = logit_bands(predict, images[0], samples[0].valid_size, windows, window_batch)
                answers = torch.cat(list(bands), 1)[None]
            assert answers.ndim == 3 or answers.shape[1] == spec.num_classes, answers.shape
            for sample, answer in zip(samples, answers, strict=True):
                prediction, target = _compared(sample, answer, protocol)
                scores[sample.id] = score_image(matrix.update(prediction, target))
                if boundary:
                    found, truth = prediction.cpu().numpy(), target.cpu().numpy()
                    near_contours += boundary_counts(found, truth, spec.num_classes, spec.ignore_index)
            if progress is not None:
                progress(len(scores))
    counts = matrix.counts
    if across_processes:
        counts, scores = merge_across_processes(counts, scores)
    return result_of_counts(counts, scores, spec, split, protocol, near_contours if boundary else None)


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
    mode: Mode = "whole",
    window: tuple[int, int] | None = None,
    stride: int | None = None,
    flip: bool = False,
    boundary: bool = False,
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
        cache: where decoded pairs are kept, for evaluation at this input size; not in mode slide.
        mode: whole, or slide as in `Predictor`.
        window: see `Predictor`.
        stride: see `Predictor`.
        flip: see `Predictor`.
        boundary: also take boundary IoU, where `protocol` is "full" and there is one process.

    Raises:
        DataError: the split, an image or a mask breaks a rule.
        ModelError: the model's classes are not the data set's.
        UsageError: the model does not know its input size, and none was given; or options that do not go together.
    """
    check_classes(model, spec, source)
    metadata = model.metadata
    windows = choose_windows(source, None, metadata.image_size, mode, window, stride)
    input_size = _input_size(source, None, metadata, image_size, windows)
    method = resize or metadata.resize
    size = None if windows is None else windows.size
    dataset = EvaluationDataset(list_samples(spec, split), spec, input_size, method, cache, size)
    share = range(len(dataset))
    if across_processes and dist.is_initialized():
        share = share[dist.get_rank() :: dist.get_world_size()]
    loader = _loader(Subset(dataset, share), batch_size if windows is None else 1, workers)
    model.to(device)

    def predict(images: Tensor) -> Tensor:
        logits: Tensor = model(metadata.normalize(images))
        return logits

    with evaluation_mode(model):
        result = evaluate(
            with_mirror_image(predict) if flip else predict,
            loader,
            spec,
            protocol,
            device,
            None if progress is None else lambda done: progress(done, len(share)),
            split=split,
            across_processes=across_processes,
            windows=windows,
            window_batch=batch_size,
            boundary=boundary,
        )
    return _described(result, source, input_size, method, windows, flip)


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
    mode: Mode = "whole",
    window: tuple[int, int] | None = None,
    stride: int | None = None,
    flip: bool = False,
    boundary: bool = False,
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
        mode: whole, or slide as in `Predictor`.
        window: see `Predictor`.
        stride: see `Predictor`.
        flip: see `Predictor`.
        boundary: also take boundary IoU, where `protocol` is "full".

    Raises:
        DataError: the split, an image or a mask breaks a rule.
        ModelError: the model's classes are not the data set's.
        UsageError: an input size that the file does not take, none at all, or what needs logits of a file that
            answers with labels.
    """
    check_classes(model, spec, source)
    record = model.record
    refuse_without_logits(source, record.output, mode, flip)
    if protocol == "quarter" and record.output == "labels":
        raise UsageError(f"{source}: --protocol quarter compares logits; this file answers with labels")
    windows = choose_windows(source, record.input_size, model.metadata.image_size, mode, window, stride)
    input_size = _input_size(source, record.input_size, model.metadata, image_size, windows)
    method = resize or model.metadata.resize
    size = None if windows is None else windows.size
    dataset = EvaluationDataset(list_samples(spec, split), spec, input_size, method, window=size)
    count = min(most_images or len(dataset), len(dataset))
    chosen = [index * len(dataset) // count for index in range(count)]
    batches: Iterable[list[EvaluationSample]] = _loader(
        Subset(dataset, chosen), batch_size if windows is None else 1, workers
    )
    if record.input_size is not None:
        fixed = record.input_size
        batches = ([exactly(sample, input_shape(sample, fixed)) for sample in batch] for batch in batches)

    predict = passes_of_file(model)
    result = evaluate(
        with_mirror_image(predict) if flip else predict,
        batches,
        spec,
        protocol,
        progress=None if progress is None else lambda done: progress(done, count),
        split=split,
        windows=windows,
        window_batch=batch_size,
        boundary=boundary,
    )
    return _described(result, source, input_size, method, windows, flip)


def _input_size(
    source: str,
    file_size: tuple[int, int] | None,
    metadata: ModelMetadata,
    wanted: tuple[int, int] | None,
    windows: Windows | None,
) -> tuple[int, int] | None:
    """What images are brought to; None, in mode slide alone: they keep their size."""
    return wanted if windows is not None else choose_image_size(source, file_size, metadata.image_size, wanted)


def _described(
    result: EvaluationResult,
    source: str,
    input_size: tuple[int, int] | None,
    resize: Resize,
    windows: Windows | None,
    flip: bool,
) -> EvaluationResult:
    how = "whole" if windows is None else f"slide {windows.size[0]}x{windows.size[1]}, stride {windows.stride[0]}"
    if windows is not None and windows.stride[1] != windows.stride[0]:
        how += f"x{windows.stride[1]}"
    how += " + mirror image" if flip else ""
    size = None if input_size is None else list(input_size)
    return replace(result, model=source, image_size=size, resize=resize, inference=how)


def input_shape(sample: EvaluationSample, size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) to pad a sample to for a file of one size: that, or more where windows slide over it."""
    height, width = sample.image.shape[1:]
    return size if fits(sample.valid_size, size) else (max(height, size[0]), max(width, size[1]))


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
        if plain_name(their_name) != plain_name(our_name):
            raise ModelError(
                f"{source}: a model is evaluated on its own classes; class {index} is {their_name!r} in the "
                f"model and {our_name!r} in the data set {spec.source}; give the data set it was trained on"
            )


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
