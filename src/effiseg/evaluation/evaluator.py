"""From a network, or label PNGs of any software, and a split to results, in a stream."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from effiseg.config.training import Protocol
from effiseg.data.cache import SampleCache
from effiseg.data.dataset import EvaluationDataset, EvaluationSample, start_worker
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.loader_faults import answered
from effiseg.data.sample import Sample
from effiseg.data.samples import evenly_spread, list_samples
from effiseg.environment import available_cores
from effiseg.errors import ModelError, UsageError
from effiseg.evaluation.predictions import PredictionFolder
from effiseg.evaluation.scores import Compared, SplitCounts, merge_across_processes, result_of_counts, score_image
from effiseg.inference.framed_network import Frame, FramedNetwork
from effiseg.inference.framing import Framing
from effiseg.inference.label_map import label_map
from effiseg.inference.network import Network
from effiseg.lookahead import submitted_ahead, threads_ahead
from effiseg.metrics.boundary import boundary_counts
from effiseg.metrics.confusion_matrix import ConfusionMatrix
from effiseg.models.metadata import ModelMetadata, plain_name
from effiseg.models.segformer import SegFormer
from effiseg.results import EvaluationResult

QUARTER = 4
"""Pixels of the input, along one axis, that one label of the protocol quarter stands for."""
_CONTOUR_THREADS = 4  # beside the network, which needs the cores too
_READING_THREADS = 2


def evaluate(
    source: Network | PredictionFolder,
    framing: Framing,
    spec: DatasetSpec,
    split: str,
    *,
    protocol: Protocol = "full",
    boundary: bool = False,
    most_images: int | None = None,
    workers: int | None = 0,
    cache: SampleCache | None = None,
    progress: Callable[[int, int], None] | None = None,
    across_processes: bool = False,
) -> EvaluationResult:
    """Score a network, or a folder of label PNGs, on a split.

    One confusion matrix is counted on the network's device, and 3·K + 1 numbers are kept for each image. No global
    random state is touched.

    Args:
        source: what to score; a network's classes must be the data set's.
        framing: how images meet the network; nothing else than `Framing()` for a folder.
        spec: the data set.
        split: its split to score.
        protocol: "full" brings the logits to every label's original size by one bilinear interpolation, and labels by
            the nearest neighbour; "quarter" reduces the labels (nearest) to a quarter of the network's input, as in the
            paper's published code; coarser logits are brought there as those of "full".
        boundary: also take boundary IoU, where `protocol` is "full" and there is one process.
        most_images: take only so many, spread evenly over the split; None: all.
        workers: loader processes; with 0, threads of this one read files, and it reads itself what is no file or lies
            in the cache. None: 0 for files where the network is on the CPU, else 2. Of a folder threads, 0 and None
            take one a core.
        cache: where decoded pairs are kept, for evaluation at this input size; not in mode slide.
        progress: called with (images done, images in all) of this process.
        across_processes: every process of `torch.distributed` takes its part of the split and gets the whole
            result; all of them must call it.

    Raises:
        DataError: the split, an image, a mask or a prediction breaks a rule.
        ModelError: the network's classes are not the data set's.
        UsageError: an input size that the network does not take, or none that is known; options that do not go
            together.
        ResourceError: a loader worker died.
    """
    assert not (boundary and (across_processes or protocol != "full"))
    samples = evenly_spread(list_samples(spec, split), most_images)
    if across_processes and dist.is_initialized():
        samples = samples[dist.get_rank() :: dist.get_world_size()]
    comparisons: Iterable[Compared | Callable[[], Compared]]
    if isinstance(source, PredictionFolder):
        if (framing, protocol) != (Framing(), "full"):
            raise UsageError(
                "--protocol, --image_size, --resize, --mode, --window, --stride, --flip and --batch_size concern "
                "models; --predictions are labels already, scored at the labels' own size"
            )
        comparisons = source.comparisons(samples, spec)
        described: dict[str, Any] = {"model": f"predictions in {source.path}"}
        device: torch.device | str = "cpu"
        threads = workers or available_cores()
    else:
        framed = FramedNetwork(source, framing)
        workers = _default_workers(samples, source.device) if workers is None else workers
        comparisons = compare(framed, samples, spec, protocol=protocol, workers=workers, cache=cache)
        described = {**source.described(), **framed.framing.described()}
        device = source.device
        threads = min(available_cores(), _CONTOUR_THREADS) if boundary else 0

    def advance(done: int) -> None:
        if progress is not None:
            progress(done, len(samples))

    with answered(workers or 0):
        counted = count_pixels(comparisons, spec, device, boundary, threads, advance)
    if across_processes:
        counted = merge_across_processes(counted)
    result = result_of_counts(counted, spec, split, protocol, boundary=boundary)
    return replace(result, **described)


def count_pixels(
    comparisons: Iterable[Compared | Callable[[], Compared]],
    spec: DatasetSpec,
    device: torch.device | str,
    boundary: bool,
    threads: int,
    advance: Callable[[int], None] = lambda done: None,
) -> SplitCounts:
    """The counts of comparisons.

    Args:
        comparisons: predictions beside labels.
        spec: the data set.
        device: where pixels are counted.
        boundary: whether contours are counted; else zeros.
        threads: that count contours; 0: none beside this one.
        advance: told how many are done.
    """
    matrix = ConfusionMatrix(spec.num_classes, spec.ignore_index, device)
    counted = SplitCounts.none(spec.num_classes)
    with torch.inference_mode():
        for found, near in _finished(comparisons, spec, boundary, threads):
            counted.images[found.id] = score_image(matrix.update(found.prediction, found.target))
            counted.near_contours += near
            advance(len(counted.images))
    counted.pixels += matrix.counts.cpu()
    return counted


def compare(
    framed: FramedNetwork,
    samples: Sequence[Sample],
    spec: DatasetSpec,
    *,
    protocol: Protocol = "full",
    workers: int = 0,
    cache: SampleCache | None = None,
) -> Iterator[Compared]:
    """A network's predictions beside the labels of samples, in their order, at the protocol's size.

    Args:
        framed: the network.
        samples: of the data set.
        spec: the data set; its classes must be the network's.
        protocol: see `evaluate`.
        workers: see `evaluate`.
        cache: see `evaluate`.

    Raises:
        DataError: an image or mask breaks a rule.
        ModelError: the network's classes are not the data set's.
        UsageError: the protocol needs logits, and the network answers with labels.
    """
    check_classes(framed.network, spec, framed.network.source)
    if protocol == "quarter":
        framed.network.require_logits("--protocol quarter")
    framing = framed.framing
    assert framing.resize is not None
    window = None if framing.windows is None else framing.windows.size
    dataset = EvaluationDataset(samples, spec, framing.image_size, framing.resize, cache, window)
    return _compared_batches(framed, _batches(dataset, framing.images_per_pass, workers), protocol)


def _compared_batches(
    framed: FramedNetwork, batches: Iterable[list[EvaluationSample]], protocol: Protocol
) -> Iterator[Compared]:
    for batch in batches:
        frames = [
            framed.padded(Frame(sample.image, sample.valid_size, (sample.label.shape[0], sample.label.shape[1])))
            for sample in batch
        ]
        for sample, frame, bands in zip(batch, frames, framed.answers(frames), strict=True):
            match protocol:
                case "full":
                    prediction = framed.labels(frame, bands)
                    target = sample.label
                case "quarter":
                    quarter, padded = (
                        (math.ceil(height / QUARTER), math.ceil(width / QUARTER))
                        for height, width in (frame.valid_size, frame.pixels.shape[1:])
                    )
                    prediction = label_map(torch.cat(list(bands), 1), padded, quarter)
                    target = _nearest(_nearest(sample.label, frame.valid_size), quarter)
            yield Compared(sample.id, prediction, target.to(prediction.device, non_blocking=True))


def _finished(
    comparisons: Iterable[Compared | Callable[[], Compared]], spec: DatasetSpec, boundary: bool, threads: int
) -> Iterator[tuple[Compared, npt.NDArray[np.int64] | int]]:
    """Comparisons in their order with their counts near contours; what threads compute ahead is bounded."""

    def finish(comparison: Compared | Callable[[], Compared]) -> tuple[Compared, npt.NDArray[np.int64] | int]:
        found = comparison if isinstance(comparison, Compared) else comparison()
        if not boundary:
            return found, 0
        prediction, target = found.prediction.cpu().numpy(), found.target.cpu().numpy()
        return found, boundary_counts(prediction, target, spec.num_classes, spec.ignore_index)

    if threads == 0:
        yield from map(finish, comparisons)
        return
    with threads_ahead(threads) as pool:
        for _, finished in submitted_ahead(pool, finish, comparisons, 2 * threads):
            yield finished.result()


def check_classes(model: SegFormer | Network, spec: DatasetSpec, source: str = "the model") -> None:
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


def _batches(dataset: EvaluationDataset, batch_size: int, workers: int) -> Iterable[list[EvaluationSample]]:
    """The samples in their order, a pass's at a time."""
    if workers == 0 and dataset.cache is None and _are_files(dataset.samples):
        return _read_in_threads(dataset, batch_size)
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=start_worker,
        generator=torch.Generator(),  # a loader draws its workers' seed: not from the training's random state
    )
    return loader


def _read_in_threads(dataset: EvaluationDataset, batch_size: int) -> Iterator[list[EvaluationSample]]:
    with threads_ahead(_READING_THREADS) as pool:
        samples = submitted_ahead(pool, dataset.__getitem__, range(len(dataset)), _READING_THREADS + batch_size)
        while batch := [sample.result() for _, sample in islice(samples, batch_size)]:
            yield batch


def _default_workers(samples: Sequence[Sample], device: torch.device | str) -> int:
    """Threads share the processor with a network on it for less than processes do, which take their time to start."""
    return 0 if torch.device(device).type == "cpu" and _are_files(samples) else 2


def _are_files(samples: Sequence[Sample]) -> bool:
    """Whether threads can read them; a user's own data set may not bear it, and drawing holds Python's lock."""
    return all(sample.files for sample in samples)


def _nearest(label: Tensor, size: tuple[int, int]) -> Tensor:
    if label.shape == size:
        return label
    return F.interpolate(label[None, None], size=size, mode="nearest")[0, 0]
