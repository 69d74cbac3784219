"""Saved images, labels and predictions: the folder that a comparison leaves for its pictures.

samples/index.json        what is there: this module's dataclasses
samples/000/image.jpg     the image, reduced
samples/000/truth.png     its label: one byte a pixel, a class index or a value that is no class
samples/000/0.png, …      the prediction of row 0, …
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from effiseg.errors import DataError, UsageError
from effiseg.files import read_json, write_json
from effiseg.results import is_color
from effiseg.serialization import from_plain
from effiseg.visualization.label_colours import UInt8Array

FOLDER = "samples"
INDEX = "index.json"
Reason = Literal["differ", "random", "worst"]
_LONGEST_SIDE = 2**14


@dataclass
class SavedSample:
    """One image and what every row made of it."""

    id: str
    """The sample's id in the data set."""
    folder: str
    """Folder of its files, relative to the index."""
    reasons: list[Reason]
    """Why it was chosen: the rows differ most on it, by chance, or it is among a row's worst."""
    worst_of: list[str] = field(default_factory=list)
    """Rows of which it is among the worst images."""
    predictions: dict[str, str] = field(default_factory=dict)
    """Row → file in its folder."""
    iou: dict[str, float | None] = field(default_factory=dict)
    """Row → mean IoU over the classes of this image, percent."""


@dataclass
class SampleIndex:
    """All saved samples."""

    names: list[str]
    """Class names."""
    palette: list[list[int]]
    """The data set's colours."""
    rows: list[str]
    """Rows that predicted, in order."""
    samples: list[SavedSample]
    """In the order of the sheet."""
    note: str = ""
    """How they were made."""
    folder: Path = Path()
    """Where the index lies; not part of the file."""

    def write(self) -> None:
        """Write the index, last of all, so that what it lists is there."""
        value = asdict(self)
        del value["folder"]
        write_json(self.folder / INDEX, value)

    def image(self, sample: SavedSample) -> UInt8Array:
        """(H, W, 3) uint8 RGB."""
        return _read(self._file(sample, "image.jpg"), "RGB")

    def truth(self, sample: SavedSample) -> UInt8Array:
        """(H, W) uint8 label."""
        return _read(self._file(sample, "truth.png"), "L")

    def prediction(self, sample: SavedSample, row: str) -> UInt8Array:
        """(H, W) uint8 label map of a row, as large as the truth.

        Raises:
            DataError: it cannot be read, or is of another size.
        """
        path = self._file(sample, sample.predictions[row])
        found, truth = _read(path, "L"), self.truth(sample)
        if found.shape != truth.shape:
            raise DataError(f"{path}: must be as large as truth.png, {truth.shape}; found {found.shape}")
        return found

    def _file(self, sample: SavedSample, name: str) -> Path:
        path = self.folder / sample.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise DataError(f"{self.folder / INDEX}: sample files lie beside the index; found {sample.folder}/{name}")
        return path


def read_samples(folder: Path) -> SampleIndex | None:
    """The saved samples in a comparison's or run's folder; None where there are none.

    Raises:
        UsageError: the index is not one of ours.
    """
    path = folder / FOLDER / INDEX
    if not path.is_file():
        return None
    value = read_json(path)
    if isinstance(value, dict):
        value.pop("folder", None)
    index = from_plain(SampleIndex, value, f"{path}: is not an index of saved samples")
    if not all(map(is_color, index.palette)) or len(set(index.names)) != len(index.names):
        raise UsageError(f"{path}: must hold colors [red, green, blue] from 0 to 255, and names that differ")
    return replace(index, folder=path.parent)


def _read(path: Path, mode: Literal["RGB", "L"]) -> UInt8Array:
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: must be a regular file; save the samples again")
        with Image.open(path, formats=("JPEG", "PNG")) as picture:
            if max(picture.size) > _LONGEST_SIDE:
                raise DataError(f"{path}: saved samples are small; found {picture.size[0]}x{picture.size[1]} pixels")
            # A label map that carries a palette holds the classes all the same.
            return np.asarray(picture if picture.mode == "P" and mode == "L" else picture.convert(mode), np.uint8)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a picture ({error}); save the samples again") from None
