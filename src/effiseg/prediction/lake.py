"""A lake of pictures to labels, by actors of a Ray cluster: what `effiseg predict --on ray` does.

Pictures are cut into parts whose names are the same each time. An actor labels a part, writes its outputs, then a
record of it: what has a record is done, and left alone by a later call. So a lost actor costs a part, and a killed
driver the parts that were under way.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from effiseg.config.prediction import PredictionConfig, Saved
from effiseg.data.shards.listing import escaped_key
from effiseg.engines import engine_of
from effiseg.errors import DataError, UsageError, printable
from effiseg.files import parse_json
from effiseg.inference.predictor import Predictor
from effiseg.inference.ray_pool import map_on_ray
from effiseg.inference.segmentation import Segmentation
from effiseg.prediction.lake_sources import LakePart, Picture, lake_parts
from effiseg.prediction.output_place import OutputPlace
from effiseg.prediction.pictures import SUFFIXES, encode_png, encoded
from effiseg.prediction.pipeline import run_pipeline
from effiseg.prediction.predict import IMAGE_OUTPUTS
from effiseg.prediction.raw_ids import raw_id_table
from effiseg.prediction.report import PredictionReport
from effiseg.results import PREDICTION_RECORD
from effiseg.run_folder import resolve_model
from effiseg.visualization.label_colours import UInt8Array

PARTS = "parts"
"""Folder of the records of parts."""
_FLUSHED_ROWS = 64


@dataclass
class PartRecord:
    """Outcome of a part."""

    name: str
    images: int = 0
    """Pictures that were labelled."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Picture → why it was passed over."""
    seconds: float = 0.0
    """Time that its actor took for it."""
    core_seconds: float = 0.0
    """Time that its actor's threads were given by cores."""


def predict_on_ray(config: PredictionConfig, progress: Callable[[int, int], None] | None = None) -> PredictionReport:
    """Label pictures by actors of a Ray cluster.

    Args:
        config: what is labelled and written, and where.
        progress: called with (pictures done, pictures in all).

    Raises:
        UsageError, ModelError, DataError, ResourceError: what is wrong, in one line.
    """
    _check(config)
    assert config.out is not None  # refused by the settings
    place = OutputPlace(os.fspath(config.out))
    predictor = _predictor(config, None)  # refused here, not by every actor
    images = predictor.images_per_pass
    size = -(-config.ray_part // images) * images  # so that passes hold the same pictures as without parts
    parts = lake_parts(config.source, place.folder, size, config.ray_column, config.ray_id_column)
    table = raw_id_table(predictor.metadata) if config.label_ids else np.arange(256, dtype=np.uint8)
    settings = _settings(config, parts, model_digest(config.model))
    done = _open(place, config, settings)
    report = PredictionReport(folder=config.out)
    started, total = time.monotonic(), sum(part.count for part in parts)
    for part in parts:
        if f"{part.name}.json" in done:
            report.skipped += part.count
            record = _record(place, part.name)
            report.unreadable |= {} if record is None else record.unreadable
    missing = [part for part in parts if f"{part.name}.json" not in done]
    make = partial(LabelWorker, config, place, table, settings["model_digest"])
    for record in map_on_ray(make, missing, config, gpu=config.device == "cuda"):
        report.images += record.images
        report.unreadable |= record.unreadable
        if progress is not None:
            progress(report.skipped + report.images + len(report.unreadable), total)
    report.seconds = time.monotonic() - started
    classes = {
        str(table[index]): {"name": name, "color": list(predictor.palette[index])}
        for index, name in enumerate(predictor.metadata.names)
    }
    found = {"images": report.images, "skipped": report.skipped, "unreadable": report.unreadable}
    _write_record(place, {"settings": settings, "classes": classes, **found})
    return report


def model_digest(model: str) -> str:
    """16 bytes of BLAKE2b of a model's weights; of one on the Hub, of its name."""
    path = Path(resolve_model(model))
    engine = engine_of(path)
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else engine.parts(path) if engine is not None else []
    digest = hashlib.blake2b(b"" if files else str(path).encode(), digest_size=16)
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _check(config: PredictionConfig) -> None:
    """Refuse settings that are not for a cluster.

    Raises:
        UsageError: the first of them.
    """
    if config.existing == "overwrite":
        raise UsageError("--existing overwrite: --on ray goes on or begins anew; take skip, or another --out")
    if others := [name for name in config.save or () if name not in SUFFIXES]:
        raise UsageError(f"--save {others[0]}: polygons are for the command without --on ray; leave them out")
    if config.save is not None and config.ray_output != "files" and config.save != ["labels"]:
        raise UsageError(f"--ray_output {config.ray_output} holds labels alone; leave --save out, or take files")


def _predictor(config: PredictionConfig, threads: int | None) -> Predictor:
    framing = {name: getattr(config, name) for name in ("mode", "window", "stride", "flip", "image_size", "resize")}
    return Predictor(
        config.model,
        device=config.device,
        batch_size=config.batch_size,
        threads=threads,
        probabilities="probabilities" in (config.save or ()),
        **framing,
    )


def _settings(config: PredictionConfig, parts: Sequence[LakePart], digest: str) -> dict[str, Any]:
    """Everything that decides what is written."""
    source = hashlib.blake2b(digest_size=16)
    for part in parts:
        source.update(f"{part.name} {part.count} {part.table}\n".encode())
        for picture in part.listed:
            source.update(f"{picture.id}\n".encode(errors="surrogateescape"))
    names = (
        "mode",
        "window",
        "stride",
        "flip",
        "image_size",
        "resize",
        "batch_size",
        "label_ids",
        "save",
        "ray_output",
    )
    values = {name: getattr(config, name) for name in names}
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return {"model": config.model, "model_digest": digest, "source": source.hexdigest(), **plain}


def _open(place: OutputPlace, config: PredictionConfig, settings: dict[str, Any]) -> set[str]:
    """Begin, or go on; the records of parts that are there.

    Raises:
        UsageError: the place holds something that is not gone on with.
    """
    held = place.names()
    if held and config.existing == "refuse":
        raise UsageError(
            f"--out {place.uri}: must be new or empty; found {len(held)} entries; --existing skip goes on with what is "
            "missing"
        )
    if held:
        data = place.read(PREDICTION_RECORD)
        earlier = parse_json(data, f"{place.uri}/{PREDICTION_RECORD}").get("settings", {}) if data is not None else {}
        changed = [name for name, value in settings.items() if earlier.get(name) != value]
        if changed:
            what = f"other settings ({', '.join(changed)})" if earlier else f"no {PREDICTION_RECORD}"
            raise UsageError(f"--out {place.uri}: --existing skip goes on with the same settings; found {what}")
    _write_record(place, {"settings": settings})
    return place.names(PARTS)


def _write_record(place: OutputPlace, values: dict[str, Any]) -> None:
    place.write(PREDICTION_RECORD, (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode())


def _record(place: OutputPlace, name: str) -> PartRecord | None:
    """The record of a part that is done; None where there is none."""
    data = place.read(f"{PARTS}/{name}.json")
    return None if data is None else PartRecord(**parse_json(data, f"{place.uri}/{PARTS}/{name}.json"))


class LabelWorker:
    """Labels parts, in an actor."""

    def __init__(
        self, config: PredictionConfig, place: OutputPlace, table: UInt8Array, digest: str, threads: int
    ) -> None:
        self.config = config
        self.place = place
        self.table = table
        self.digest = digest
        self.predictor = _predictor(config, threads)

    def __call__(self, part: LakePart) -> PartRecord:
        """Label a part and write its outputs and record; one that has a record is done already."""
        if (earlier := _record(self.place, part.name)) is not None:
            return earlier
        record, started, worked = PartRecord(part.name), time.monotonic(), time.process_time()
        outputs = self._outputs(part.name)

        def write(picture: Picture, segmentation: Segmentation) -> None:
            outputs.add(picture.id, segmentation)
            record.images += 1

        def failed(picture: Picture, error: DataError) -> None:
            outputs.fail(picture.id, str(error))
            record.unreadable[printable(str(picture.file))] = str(error)

        # One thread for reading and one for writing keep the order.
        run_pipeline(
            self.predictor,
            part.pictures(),
            lambda picture: self.predictor.prepare(picture.file),
            write,
            failed=failed,
            done=lambda: None,
            threads=1,
        )
        outputs.close()
        record.seconds, record.core_seconds = time.monotonic() - started, time.process_time() - worked
        self.place.write(f"{PARTS}/{part.name}.json", json.dumps(record.__dict__).encode())
        return record

    def _outputs(self, name: str) -> _Files | _Shard | _Table:
        match self.config.ray_output:
            case "files":
                chosen = self.config.save
                outputs = IMAGE_OUTPUTS if chosen is None else [kind for kind in SUFFIXES if kind in chosen]
                return _Files(self.place, outputs, self.table)
            case "shards":
                return _Shard(self.place, name, self.table)
            case "parquet":
                return _Table(self.place, name, self.table, self.digest)


class _Files:
    """Outputs of a part as files, under the names that they have without a cluster."""

    def __init__(self, place: OutputPlace, outputs: Sequence[Saved], table: UInt8Array) -> None:
        self.place, self.outputs, self.table = place, outputs, table

    def add(self, name: str, segmentation: Segmentation) -> None:
        for output in self.outputs:
            self.place.write(f"{output}/{name}{SUFFIXES[output]}", encoded(output, segmentation, self.table))

    def fail(self, name: str, reason: str) -> None:
        """It stands in the part's record."""

    def close(self) -> None:
        """Every file was written when it came."""


class _Shard:
    """Labels of a part as a tar shard: ID.labels.png, and ID.json with the classes' areas or the error."""

    def __init__(self, place: OutputPlace, name: str, table: UInt8Array) -> None:
        from webdataset import TarWriter

        self.place, self.name, self.table = place, name, table
        self.file = tempfile.NamedTemporaryFile(prefix="effiseg-", suffix=".tar")  # noqa: SIM115 - closed at the end
        self.lock = Lock()  # as in _Table
        self.writer = TarWriter(self.file, encoder=False, mtime=0, compress=False, format="PAX_FORMAT")

    def add(self, name: str, segmentation: Segmentation) -> None:
        png = encode_png(self.table[segmentation.labels])
        self._write(name, {"labels.png": png, "json": json.dumps({"areas": segmentation.areas()}).encode()})

    def fail(self, name: str, reason: str) -> None:
        self._write(name, {"json": json.dumps({"error": reason}).encode()})

    def _write(self, name: str, members: dict[str, bytes]) -> None:
        with self.lock:
            self.writer.write({"__key__": escaped_key(name), **members})

    def close(self) -> None:
        """Bring the shard to its place."""
        self.writer.close()
        self.file.flush()
        self.place.put(f"{self.name}.tar", Path(self.file.name))
        self.file.close()


class _Table:
    """Labels of a part as a Parquet file; memory holds a few rows."""

    def __init__(self, place: OutputPlace, name: str, table: UInt8Array, digest: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.place, self.name, self.table, self.digest = place, name, table, digest
        areas = pa.map_(pa.string(), pa.float64())
        self.schema = pa.schema(
            [
                ("id", pa.string()),
                ("labels", pa.binary()),
                ("areas", areas),
                ("model", pa.string()),
                ("error", pa.string()),
            ]
        )
        self.file = tempfile.NamedTemporaryFile(prefix="effiseg-", suffix=".parquet")  # noqa: SIM115 - closed at the end
        self.writer = pq.ParquetWriter(self.file.name, self.schema)
        self.rows: list[dict[str, Any]] = []
        self.lock = Lock()  # labels come from a thread that writes, errors from the one that reads

    def add(self, name: str, segmentation: Segmentation) -> None:
        png = encode_png(self.table[segmentation.labels])
        self._row(name, labels=png, areas=list(segmentation.areas().items()), error=None)

    def fail(self, name: str, reason: str) -> None:
        self._row(name, labels=None, areas=None, error=reason)

    def _row(self, name: str, **values: Any) -> None:
        with self.lock:
            self.rows.append({"id": name, "model": self.digest, **values})
            if len(self.rows) == _FLUSHED_ROWS:
                self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        self.writer.write_table(pa.Table.from_pylist(self.rows, schema=self.schema))
        self.rows = []

    def close(self) -> None:
        """Bring the file to its place."""
        self._flush()
        self.writer.close()
        self.place.put(f"{self.name}.parquet", Path(self.file.name))
        self.file.close()
