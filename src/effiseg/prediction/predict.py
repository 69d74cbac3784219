"""Sources to output folders: what `effiseg predict` does."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from effiseg.config.prediction import Existing, PredictionConfig, Saved
from effiseg.data.oddities import page_oddities, tell_oddities
from effiseg.errors import DataError, UsageError, printable
from effiseg.files import read_json, write_bytes, write_json
from effiseg.inference.network import ModelSource
from effiseg.inference.predictor import Predictor, Prepared
from effiseg.inference.segmentation import Segmentation
from effiseg.nested import nest
from effiseg.prediction.pictures import SUFFIXES, encoded
from effiseg.prediction.pipeline import run_pipeline
from effiseg.prediction.raw_ids import raw_id_table
from effiseg.prediction.sources import Source, find_sources, refuse_same_outputs
from effiseg.prediction.video import FrameReader, FrameWriter, whole_video
from effiseg.results import PREDICTION_RECORD
from effiseg.visualization.label_colours import UInt8Array

IMAGE_OUTPUTS: tuple[Saved, ...] = ("labels", "color", "overlay")
"""Outputs of images unless they are chosen."""
VIDEO_OUTPUTS: tuple[Saved, ...] = ("overlay",)
"""Outputs of videos and streams unless they are chosen."""
_NOTICED_SECONDS = 0.5
"""A difference in length between a video and its overlay that is told."""


@dataclass
class PredictionReport:
    """Outcome of the sources."""

    images: int = 0
    """Images and frames that were labelled."""
    skipped: int = 0
    """Images whose outputs were there already."""
    seconds: float = 0.0
    """From the first to the last of them."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """File → why it was passed over, or is not whole."""


class PredictionFolder:
    """Where outputs lie: `labels/ID.png`, `color/ID.png`, `overlay/ID.jpg`, `probabilities/ID.npz`, a record.

    Every file appears under its name when it is whole.

    Args:
        path: the folder.
        raw_ids: (256,) uint8, what is written for each label.
    """

    def __init__(self, path: Path, raw_ids: UInt8Array) -> None:
        self.path = path
        self.raw_ids = raw_ids
        self.earlier_faults: dict[str, str] = {}
        """What the run that is gone on with could not read, or not wholly."""

    def file(self, output: Saved, name: str) -> Path:
        """Where an output of the image or frame `name` lies."""
        return self.path / output / f"{name}{SUFFIXES[output]}"

    def open(self, existing: Existing, settings: dict[str, Any]) -> None:
        """Begin, under the rule for a folder that holds something.

        Args:
            existing: the rule.
            settings: what decides the outputs; a folder that is gone on with must have the same.

        Raises:
            UsageError: the folder cannot be used.
        """
        record = self.path / PREDICTION_RECORD
        try:
            held = len(list(self.path.iterdir())) if self.path.exists() else 0
            if held and existing == "refuse":
                raise UsageError(
                    f"--out {self.path}: must be new or empty; found {held} entries; --existing skip goes on with what "
                    "is missing, --existing overwrite replaces files of the same names"
                )
            if existing == "skip" and held:
                earlier = _record(record)
                before = earlier.get("settings")
                changed = [name for name, value in settings.items() if (before or {}).get(name) != value]
                self.earlier_faults = dict(earlier.get("unreadable") or {})
                if changed:
                    what = f"other settings ({', '.join(changed)})" if before else f"no {PREDICTION_RECORD}"
                    raise UsageError(f"--out {self.path}: --existing skip goes on with the same settings; found {what}")
            write_json(record, {"settings": settings})
        except OSError as error:
            raise UsageError(f"--out {self.path}: cannot be written ({error.strerror or error})") from None

    def has(self, outputs: Sequence[Saved], name: str) -> bool:
        """Whether all outputs of an image are there."""
        return all(self.file(output, name).is_file() for output in outputs)

    def write(self, outputs: Sequence[Saved], name: str, segmentation: Segmentation) -> None:
        """Write outputs of an image or frame.

        Raises:
            ResourceError: a file cannot be written.
        """
        for output in outputs:
            write_bytes(self.file(output, name), encoded(output, segmentation, self.raw_ids))

    def close(self, settings: dict[str, Any], report: PredictionReport, describe: dict[str, Any]) -> None:
        """Write the record: settings, what the ids mean, and what became of the sources."""
        found = {"images": report.images, "skipped": report.skipped, "unreadable": report.unreadable}
        write_json(self.path / PREDICTION_RECORD, {"settings": settings, **describe, **found})


def predict(
    config: PredictionConfig, model: ModelSource, progress: Callable[[int, int], None] | None = None
) -> PredictionReport:
    """Label images, videos and streams, and write what was asked for.

    Args:
        config: what is labelled and written, and how images meet the network.
        model: a network, or what `config.model` names.
        progress: called with (images done, images in all; of streams, so far).

    Returns:
        The report; files that could not be read are named in it, the others are done.

    Raises:
        UsageError, ModelError: what is wrong, in one line.
        KeyboardInterrupt: Ctrl-C; only whole files are left. A stream's video ends there in good order.
    """
    hidden, earlier = list[str](), list[str]()
    sources = find_sources(config.source, config.out, hidden, earlier)
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
        config.out,
        outputs=None if config.save is None else [name for name in SUFFIXES if name in config.save],
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
    folder = PredictionFolder(Path(out), table)
    kept = {**(settings or {}), "outputs": None if outputs is None else list(outputs), "label_ids": label_ids}
    refuse_same_outputs(sources, lambda source: _written_of(source, outputs))
    folder.open(existing, kept)
    report, started = PredictionReport(), time.monotonic()
    images = [source for source in sources if source.kind == "image"]
    videos = [source for source in sources if source.kind != "image"]
    counter = _Counter(len(images), progress)
    if images:
        _predict_images(predictor, images, folder, outputs or IMAGE_OUTPUTS, existing == "skip", report, counter)
    for source in videos:
        _predict_video(predictor, source, folder, outputs or VIDEO_OUTPUTS, existing == "skip", report, counter)
    report.seconds = time.monotonic() - started
    classes = {
        str(table[index]): {"name": name, "color": list(predictor.palette[index])}
        for index, name in enumerate(predictor.metadata.names)
    }
    folder.close(kept, report, {"classes": classes})
    return report


def _record(path: Path) -> dict[str, Any]:
    """The record of an earlier run; empty where there is none.

    Raises:
        UsageError: it is no record.
    """
    if not path.is_file():
        return {}
    value = read_json(path)
    parts = [value.get(key, {}) for key in ("settings", "unreadable")] if isinstance(value, dict) else [None]
    if not all(isinstance(part, dict) for part in parts):
        raise UsageError(f"{path}: must be the record of an earlier prediction; found other content; remove the folder")
    return dict(value)


def _written_of(source: Source, outputs: Sequence[Saved] | None) -> list[str]:
    """Outputs of a source, relative to their folder; of a video's frames, their folder."""
    if source.kind == "image":
        return [f"{output}/{source.id}{SUFFIXES[output]}" for output in outputs or IMAGE_OUTPUTS]
    return [f"{output}/{source.id}{'.mp4' if output == 'overlay' else '/'}" for output in outputs or VIDEO_OUTPUTS]


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

    def failed(source: Source, error: DataError) -> None:
        report.unreadable[printable(source.address)] = str(error)

    run_pipeline(
        predictor,
        wanted,
        lambda source: predictor.prepare(source.address),
        lambda source, segmentation: folder.write(outputs, source.id, segmentation),
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

    def run(video: FrameWriter | None) -> None:
        def write(index: int, segmentation: Segmentation) -> None:
            folder.write(single, f"{source.id}/{index:06d}", segmentation)
            if video is not None:
                video.write(segmentation.overlay())

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
