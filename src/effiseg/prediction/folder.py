"""The folder that predictions go to: where each output lies, and the rule for one that holds something."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from effiseg.config.prediction import Existing, Saved
from effiseg.errors import UsageError
from effiseg.files import read_json, write_bytes, write_json
from effiseg.inference.segmentation import Segmentation
from effiseg.prediction.annotations.coco import write_coco
from effiseg.prediction.annotations.cvat import write_cvat
from effiseg.prediction.annotations.image import AnnotatedImage
from effiseg.prediction.annotations.label_studio import write_label_studio
from effiseg.prediction.annotations.labelme import encode_labelme
from effiseg.prediction.annotations.yolo import encode_yolo
from effiseg.prediction.pictures import SUFFIXES, encoded
from effiseg.prediction.report import PredictionReport
from effiseg.prediction.sources import Source
from effiseg.results import PREDICTION_RECORD
from effiseg.visualization.label_colours import UInt8Array

SHARED_FILES: dict[Saved, str] = {"coco": "coco.json", "cvat": "cvat.xml", "label_studio": "label_studio.json"}
"""Outputs that are one file for all images."""
_OWN_FILES: dict[Saved, str] = {"labelme": ".json", "yolo": ".txt"}
POLYGONS = frozenset[Saved]([*SHARED_FILES, *_OWN_FILES])
_PARTS = "polygons"
"""Where the polygons of each image lie, of which shared files are made."""


class PolygonOptions(NamedTuple):
    """How label maps become polygons; see `trace_outlines`."""

    tolerance: float
    """The farthest that simplifying may move a border, pixels."""
    least_area: int
    """Regions of fewer pixels go to what lies nearest."""


def place_of(output: Saved, name: str) -> str:
    """Where an output of an image or frame lies in the folder; of a shared file, its part."""
    suffix = ".json" if output in SHARED_FILES else _OWN_FILES.get(output) or SUFFIXES[output]
    return f"{folder_of(output)}/{name}{suffix}"


def folder_of(output: Saved) -> str:
    """Folder that an output's files lie in."""
    return _PARTS if output in SHARED_FILES else output


def encode_polygons(output: Saved, image: AnnotatedImage, names: Sequence[str]) -> bytes:
    """The content of one file of polygons; of a shared file, its part."""
    match output:
        case "labelme":
            return encode_labelme(image, names)
        case "yolo":
            return encode_yolo(image)
        case _:
            return json.dumps(image.to_dict(), ensure_ascii=False).encode()


class PredictionFolder:
    """Where outputs lie: `OUTPUT/ID.SUFFIX` of each image, files of polygons for all of them, a record.

    Every file appears under its name when it is whole.

    Args:
        path: the folder.
        raw_ids: (256,) uint8, what is written for each label.
        names: of the classes.
        polygons: how label maps become polygons.
    """

    def __init__(self, path: Path, raw_ids: UInt8Array, names: Sequence[str], polygons: PolygonOptions) -> None:
        self.path = path
        self.raw_ids = raw_ids
        self.names = names
        self.polygons = polygons
        self.earlier_faults: dict[str, str] = {}
        """What the run that is gone on with could not read, or not wholly."""

    def file(self, output: Saved, name: str) -> Path:
        """Where an output of the image or frame `name` lies."""
        return self.path / place_of(output, name)

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

    def write(self, outputs: Sequence[Saved], name: str, segmentation: Segmentation, file_name: str) -> None:
        """Write outputs of an image or frame.

        Args:
            outputs: which.
            name: what they are called.
            segmentation: what was found.
            file_name: the image's own name, for annotations.

        Raises:
            ResourceError: a file cannot be written.
        """
        annotated = None
        if not POLYGONS.isdisjoint(outputs):
            annotated = AnnotatedImage.of(file_name, segmentation, *self.polygons)
        for file, output in {self.file(output, name): output for output in outputs}.items():
            if annotated is not None and output in POLYGONS:
                write_bytes(file, encode_polygons(output, annotated, self.names))
            else:
                write_bytes(file, encoded(output, segmentation, self.raw_ids))

    def write_shared(
        self, outputs: Sequence[Saved], sources: Sequence[Source], palette: Sequence[tuple[int, int, int]]
    ) -> None:
        """Write the files of polygons that hold all images, from the parts that `write` left.

        Raises:
            ResourceError: a file cannot be written.
        """

        def images() -> Iterator[AnnotatedImage]:
            for source in sources:
                part = self.path / place_of("coco", source.id)
                parts = [part] if source.kind == "image" else sorted(part.with_suffix("").glob("*.json"))
                yield from (AnnotatedImage.from_dict(read_json(file)) for file in parts if file.is_file())

        for output in outputs:
            file = self.path / SHARED_FILES.get(output, "")
            match output:
                case "coco":
                    write_coco(file, images, self.names)
                case "cvat":
                    write_cvat(file, images, self.names, palette)
                case "label_studio":
                    write_label_studio(file, images, self.names)

    def close(self, settings: dict[str, Any], report: PredictionReport, describe: dict[str, Any]) -> None:
        """Write the record: settings, what the ids mean, and what became of the sources."""
        found = {"images": report.images, "skipped": report.skipped, "unreadable": report.unreadable}
        write_json(self.path / PREDICTION_RECORD, {"settings": settings, **describe, **found})


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
