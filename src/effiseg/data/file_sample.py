"""A sample that lies in files: an image, and its mask in any format."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from effiseg.data.classes import Classes
from effiseg.data.formats.base import MaskFormat
from effiseg.data.formats.index import IndexMasks
from effiseg.data.image_file import decode_image, open_image, read_encoded, read_header
from effiseg.data.mask_palettes import Palette, used_palette
from effiseg.data.oddities import Oddity, page_oddities
from effiseg.data.reading import Labels
from effiseg.data.regular_file import AnyPath, DataFile
from effiseg.data.sample import Sample
from effiseg.data.transforms import UInt8Array

_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"


@dataclass(frozen=True)
class FileSample(Sample):
    """One image file with its mask."""

    masks: MaskFormat = field(default_factory=IndexMasks)
    """The mask file's content; it exists. For COCO it is the split's JSON file."""
    entry: int | str | None = None
    """Which entry of a shared mask file is the image's; None: it has its own."""

    def read_image(self) -> UInt8Array:
        """See `effiseg.data.image_file.decode_image`."""
        return decode_image(self.image)[0]

    def read_labels(self, classes: Classes) -> Labels:
        """See `MaskFormat.read`."""
        return self.masks.read(self, read_header(self.image), classes)

    def read_pair(self, classes: Classes) -> tuple[UInt8Array, UInt8Array]:
        """The image's header is read once."""
        image, header = decode_image(self.image)
        return image, self.masks.read(self, header, classes).label

    def check(self, classes: Classes) -> dict[int, int]:
        """The image's header is read once."""
        _, header = decode_image(self.image)
        return self.masks.read(self, header, classes).unlisted

    def count_labels(self, classes: Classes) -> tuple[npt.NDArray[np.int64], dict[int, int]]:
        """From the mask alone where its format allows that."""
        return self.masks.count(self.mask, classes) or super().count_labels(classes)

    @property
    def parts(self) -> tuple[DataFile, ...]:
        """The image too: polygons are drawn at its size."""
        return self.image, self.mask, *self.masks.files_beside(Path(self.mask))

    @property
    def key(self) -> str:
        """The files' absolute names, and the entry."""
        return super().key if self.entry is None else f"{super().key}\0{self.entry}"

    @property
    def holds_indices(self) -> bool:
        """See `MaskFormat`."""
        return self.masks.holds_indices

    def read_whole_image(self) -> UInt8Array:
        """See `Sample`; OpenCV decodes JPEG and PNG files that are cut off or damaged without a word."""
        refuse_damaged(self.image)
        return self.read_image()

    def palette(self) -> Palette | None:
        """Of the mask, where its format reads indices."""
        return used_palette(self.mask) if self.masks.holds_indices else None

    def oddities(self) -> list[Oddity]:
        """Of its image and of its mask's format."""
        return self.masks.oddities(self, read_header(self.image)) + page_oddities([self.image])

    def read_labels_alone(self, classes: Classes) -> Labels | None:
        """As the mask stores them."""
        return self.masks.read_stored(self, classes)


def refuse_damaged(path: AnyPath) -> None:
    """Find a file that ends too early, or whose checksums are wrong.

    Raises:
        DataError: it does, or they are.
    """
    data = read_encoded(path)
    if data.startswith(_JPEG_START) and data.rstrip(b"\0").endswith(_JPEG_END):
        return  # JPEG has no checksums
    with open_image(path, file=io.BytesIO(data)) as image:
        if data.startswith(_PNG_START) and data.endswith(_PNG_END):
            image.verify()  # the checksums of all chunks, faster than decoding
        else:
            image.load()
