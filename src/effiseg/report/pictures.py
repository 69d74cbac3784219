"""Saved samples as pictures that stand in the page itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from effiseg.errors import DataError
from effiseg.report.samples import SampleIndex, SavedSample
from effiseg.visualization.label_colours import UInt8Array, colour_map, error_map
from effiseg.visualization.palettes import Colour

_LARGEST_BATCH = 2_000_000
_REASONS = {"differ": "the rows differ most here", "random": "chosen at random"}


@dataclass(frozen=True)
class Picture:
    """One picture with its caption."""

    title: str
    """Its subject."""
    source: str
    """data: address of the picture."""
    errors: str | None = None
    """data: address of where it is wrong."""
    iou: float | None = None
    """Mean IoU over the classes of this image, percent."""
    row: str | None = None
    """Row that predicted it."""

    @property
    def is_labels(self) -> bool:
        """Whether it shows classes, which can be laid over the photo."""
        return self.title != "image"


@dataclass(frozen=True)
class SamplePictures:
    """All pictures of one sample."""

    id: str
    """The sample's id."""
    why: str
    """Why it is shown."""
    pictures: list[Picture]
    """Image, truth, one a row."""


def sample_pictures(
    index: SampleIndex, palette: Sequence[Colour], label: Callable[[str], str], most_bytes: int
) -> tuple[list[SamplePictures], int]:
    """The samples in the index's order, as many as fit.

    Args:
        index: what was saved.
        palette: colours of the classes.
        label: row → how it is called.
        most_bytes: of all pictures together.

    Returns:
        The samples, and how many were left out.

    Raises:
        DataError: a file is missing or is no picture.
    """
    shown: list[SamplePictures] = []
    size = 0
    for sample in index.samples:
        made = _pictures_of(index, sample, palette, label)
        size += sum(len(picture.source) + len(picture.errors or "") for picture in made.pictures)
        if size > most_bytes:
            break
        shown.append(made)
    return shown, len(index.samples) - len(shown)


def batch_picture(path: Path) -> str:
    """data: address of a saved training batch.

    Raises:
        DataError: it cannot be read, or is larger than the page has room for.
    """
    if (size := path.stat().st_size) > _LARGEST_BATCH:
        raise DataError(f"{path}: must have at most {_LARGEST_BATCH} bytes; found {size}")
    return _data_address(path.read_bytes(), "JPEG")


def _pictures_of(
    index: SampleIndex, sample: SavedSample, palette: Sequence[Colour], label: Callable[[str], str]
) -> SamplePictures:
    truth = index.truth(sample)
    pictures = [
        Picture("image", _address(index.image(sample), "JPEG")),
        Picture("truth", _address(colour_map(truth, palette))),
    ]
    for row in sample.predictions:
        prediction = index.prediction(sample, row)
        errors = error_map(prediction, truth, len(index.names))
        pictures.append(
            Picture(label(row), _address(colour_map(prediction, palette)), _address(errors), sample.iou.get(row), row)
        )
    reasons = [_REASONS[reason] for reason in sample.reasons if reason in _REASONS]
    if sample.worst_of:
        reasons.append(f"among the worst of {', '.join(map(label, sample.worst_of))}")
    return SamplePictures(sample.id, "; ".join(reasons), pictures)


def _address(picture: UInt8Array, form: str = "PNG") -> str:
    """data: address of (H, W, 3) uint8; what has few colours is stored with a palette."""
    image = Image.fromarray(picture)
    if form == "PNG" and (colours := image.getcolors(256)) is not None:
        image = image.quantize(len(colours), dither=Image.Dither.NONE)
    stream = io.BytesIO()
    image.save(stream, form, **({"quality": 85} if form == "JPEG" else {"optimize": True}))
    return _data_address(stream.getvalue(), form)


def _data_address(data: bytes, form: str) -> str:
    return f"data:image/{form.lower()};base64,{base64.b64encode(data).decode('ascii')}"
