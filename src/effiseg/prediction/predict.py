"""Sources to output folders: what `effiseg predict` does."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from effiseg.config.prediction import Existing, PredictionConfig, Saved
from effiseg.data.oddities import page_oddities, tell_oddities
from effiseg.errors import DataError, UsageError, printable
from effiseg.inference.network import ModelSource
from effiseg.inference.predictor import Predictor, Prepared
from effiseg.inference.segmentation import Segmentation
from effiseg.nested import nest
from effiseg.prediction.folder import POLYGONS, PolygonOptions, PredictionFolder, folder_of, place_of
from effiseg.prediction.pipeline import run_pipeline
from effiseg.prediction.raw_ids import raw_id_table
from effiseg.prediction.report import PredictionReport
from effiseg.prediction.sources import Source, find_sources, refuse_same_outputs
from effiseg.prediction.video import FrameReader, FrameWriter, whole_video
from effiseg.visualization.legend import legend_strip

IMAGE_OUTPUTS: tuple[Saved, ...] = ("labels", "color", "overlay")
"""Outputs of images unless they are chosen."""
VIDEO_OUTPUTS: tuple[Saved, ...] = ("overlay",)
"""Outputs of videos and streams unless they are chosen."""
_POLYGONS = PolygonOptions(PredictionConfig.polygon_tolerance, PredictionConfig.polygon_area)
MOST_AREAS = 20
"""Images whose areas the report has."""
_NOTICED_SECONDS = 0.5
"""A difference in length between a video and its overlay that is told."""


def predict(
    config: PredictionConfig, model: ModelSource, out: Path, progress: Callable[[int, int], None] | None = None
) -> PredictionReport:
    """Label images, videos and streams, and write what was asked for.

    Args:
        config: what is labelled and written, and how images meet the network.
        model: a network, or what `config.model` names.
        out: folder for the outputs, whatever `config.out` says.
        progress: called with (images done, images in all; of streams, so far).

    Returns:
        The report; files that could not be read are named in it, the others are done.

    Raises:
        UsageError, ModelError: what is wrong, in one line.
        KeyboardInterrupt: Ctrl-C; only whole files are left. A stream's video ends there in good order.
    """
    hidden, earlier = list[str](), list[str]()
    sources = find_sources(config.source, out, hidden, earlier)
    for paths, kind in ((hidden, "hidden files or folders"), (earlier, "outputs of earlier predictions")):
        if paths:
            print(f"source: passed over {len(paths)} {kind}, as {printable(paths[0])}", file=sys.stderr)
    pages = page_oddities(source.address for source in sources if source.address.lower().endswith((".tif", ".tiff")))
    for finding in tell_oddities(("", oddity) for oddity in pages):
        print(finding.message, file=sys.stderr)
    framing = {name: getattr(config, name) for name in ("mode", "window", "stride", "flip", "image_size", "resize")}
    predictor = Predictor(
        model,
        device=config.device,
        batch_size=config.batch_size,
        probabilities="probabilities" in (config.save or ()),
        **framing,
    )
    report = predict_sources(
        predictor,
        sources,
        out,
        outputs=None if config.save is None else [name for name in get_args(Saved) if name in config.save],
        polygons=PolygonOptions(config.polygon_tolerance, config.polygon_area),
        label_ids=config.label_ids,
        existing=config.existing,
        settings=nest({"model": config.model, **framing}),
        progress=progress,
    )
    if config.label_ids and predictor.metadata.label_mapping is None:
        print("label_ids: the model has no label_mapping, so class indices are what its masks held", file=sys.stderr)
    return report


def predict_sources(
    predictor: Predictor,
    sources: Sequence[Source],
    out: str | os.PathLike[str],
    *,
    outputs: Sequence[Saved] | None = None,
    label_ids: bool = False,
    polygons: PolygonOptions = _POLYGONS,
    existing: Existing = "refuse",
    settings: dict[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PredictionReport:
    """Label sources and write what was asked for.

    Args:
        predictor: what labels them; it must keep probabilities where these are written.
        sources: what `find_sources` gave.
        out: the output folder.
        outputs: what to write; default: labels, color and overlay of images, the overlay of videos and streams.
            Of videos everything but the overlay is written frame by frame, `labels/ID/000000.png`.
        label_ids: labels hold the values of the data set's masks instead of class indices.
        polygons: how label maps become polygons, where these are written.
        existing: see `Existing`.
        settings: beside the outputs and label_ids, what decides what is written; stands in the record.
        progress: called with (images done, images in all; of streams, so far).

    Returns:
        The report; files that could not be read are named in it, the others are done.

    Raises:
        UsageError: the folder cannot be used or written, or label_ids cannot be had.
        DataError: outputs of two sources would have one name.
        KeyboardInterrupt: Ctrl-C; only whole files are left. A stream's video ends there in good order.
    """
    table = raw_id_table(predictor.metadata) if label_ids else np.arange(256, dtype=np.uint8)
    folder = PredictionFolder(Path(out), table, predictor.metadata.names, polygons)
    kept = {**(settings or {}), "outputs": None if outputs is None else list(outputs), "label_ids": label_ids}
    if not POLYGONS.isdisjoint(outputs or ()):
        kept["polygons"] = polygons._asdict()
    refuse_same_outputs(sources, lambda source: _written_of(source, outputs))
    folder.open(existing, kept)
    report, started = PredictionReport(folder=Path(out)), time.monotonic()
    images = [source for source in sources if source.kind == "image"]
    videos = [source for source in sources if source.kind != "image"]
    counter = _Counter(len(images), progress)
    if images:
        _predict_images(predictor, images, folder, outputs or IMAGE_OUTPUTS, existing == "skip", report, counter)
    for source in videos:
        _predict_video(predictor, source, folder, outputs or VIDEO_OUTPUTS, existing == "skip", report, counter)
    report.seconds = time.monotonic() - started
    folder.write_shared(outputs or (), sources, predictor.palette)
    classes = {
        str(table[index]): {"name": name, "color": list(predictor.palette[index])}
        for index, name in enumerate(predictor.metadata.names)
    }
    folder.close(kept, report, {"classes": classes})
    return report


def _written_of(source: Source, outputs: Sequence[Saved] | None) -> list[str]:
    """Outputs of a source, relative to their folder; of a video's frames, their folder."""
    if source.kind == "image":
        return list(dict.fromkeys(place_of(output, source.id) for output in outputs or IMAGE_OUTPUTS))
    return [
        f"overlay/{source.id}.mp4" if output == "overlay" else f"{folder_of(output)}/{source.id}/"
        for output in outputs or VIDEO_OUTPUTS
    ]


class _Counter:
    """Things done of things in all, which grow when a video says how long it is."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self.done, self.total, self._progress = 0, total, progress

    def step(self) -> None:
        self.done += 1
        self.total = max(self.total, self.done)
        if self._progress is not None:
            self._progress(self.done, self.total)


def _predict_images(
    predictor: Predictor,
    sources: Sequence[Source],
    folder: PredictionFolder,
    outputs: Sequence[Saved],
    skip: bool,
    report: PredictionReport,
    counter: _Counter,
) -> None:
    wanted = [source for source in sources if not (skip and folder.has(outputs, source.id))]
    report.skipped += len(sources) - len(wanted)
    counter.total -= len(sources) - len(wanted)
    unreadable = len(report.unreadable)

    def write(source: Source, segmentation: Segmentation) -> None:
        folder.write(outputs, source.id, segmentation, source.name)
        if len(report.areas) < MOST_AREAS:
            report.areas[source.id] = segmentation.areas()

    def failed(source: Source, error: DataError) -> None:
        report.unreadable[printable(source.address)] = str(error)

    run_pipeline(
        predictor,
        wanted,
        lambda source: predictor.prepare(source.address),
        write,
        failed=failed,
        done=counter.step,
    )
    report.images += len(wanted) - (len(report.unreadable) - unreadable)


def _predict_video(
    predictor: Predictor,
    source: Source,
    folder: PredictionFolder,
    outputs: Sequence[Saved],
    skip: bool,
    report: PredictionReport,
    counter: _Counter,
) -> None:
    path = folder.path / "overlay" / f"{source.id}.mp4"
    single = [output for output in outputs if output != "overlay"]
    shown = printable(source.address)
    if skip and "overlay" in outputs and path.is_file():
        report.skipped += 1
        if shown in folder.earlier_faults:
            report.unreadable[shown] = folder.earlier_faults[shown]
        return
    try:
        reader = FrameReader(source.address)
    except DataError as error:
        report.unreadable[shown] = str(error)
        return
    counter.total += reader.frames
    before = counter.done

    def read(_: int) -> Prepared | None:
        frame = reader.read()
        return None if frame is None else predictor.prepare(frame)

    entries = tuple(zip(predictor.metadata.names, predictor.palette, strict=True))

    def run(video: FrameWriter | None) -> None:
        def write(index: int, segmentation: Segmentation) -> None:
            name = f"{source.id}/{index:06d}"
            folder.write(single, name, segmentation, f"{name}.png")
            if video is not None:
                picture = segmentation.overlay()
                video.write(np.concatenate([picture, legend_strip(picture.shape[1], entries)]))

        frames = itertools.count()
        run_pipeline(predictor, frames, read, write, failed=_never_fails, done=counter.step, threads=1)
        if counter.done == before:
            raise DataError(f"{source.address}: a video needs at least one frame; found none that can be decoded")

    try:
        if "overlay" in outputs:
            with whole_video(path, reader.rate, keep_when_stopped=source.kind == "stream") as video:
                run(video)
        else:
            run(None)
        if source.kind == "video" and (complaint := reader.complaint()):
            report.unreadable[shown] = complaint
        elif "overlay" in outputs:
            _tell_other_length(shown, reader)
    except DataError as error:
        report.unreadable[shown] = str(error)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        reader.close()
    report.images += counter.done - before


def _tell_other_length(shown: str, reader: FrameReader) -> None:
    """Say where an overlay, whose frames last equally long, is longer or shorter than its source."""
    seconds = reader.frames_read / reader.rate
    if abs(seconds - reader.seconds) > _NOTICED_SECONDS:
        print(
            f"{shown}: its frames last {reader.seconds:.1f} s, not all equally long; the overlay shows them at "
            f"{reader.rate:g} a second, {seconds:.1f} s",
            file=sys.stderr,
        )


def _never_fails(index: int, error: DataError) -> None:
    raise AssertionError(f"frame {index}: an array needs no decoding") from error
