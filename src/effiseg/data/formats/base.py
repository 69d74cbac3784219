"""Base of every mask format: its keys in the YAML file, where its masks lie, and reading them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, get_args

import numpy as np
import numpy.typing as npt

from effiseg.data.classes import IGNORE_LABEL, Classes
from effiseg.data.folder_contents import FolderContents, Recognized
from effiseg.data.image_file import ImageHeader
from effiseg.data.oddities import Oddity
from effiseg.data.orientation import MaskOrientation, fit_labels
from effiseg.data.polygons import PolygonBorder
from effiseg.data.reading import Labels
from effiseg.data.regular_file import DataFile
from effiseg.data.yaml_values import optional_text
from effiseg.errors import DataError

_MASK_EXTENSIONS = (".png", ".bmp", ".tif", ".tiff")


class MaskedImage(Protocol):
    """An image file and where its mask is."""

    @property
    def image(self) -> DataFile:
        """The image file."""

    @property
    def mask(self) -> DataFile:
        """The file that holds its mask."""

    @property
    def entry(self) -> int | str | None:
        """Which entry of a shared file is its mask; None: it has its own."""


class DataPlace(Protocol):
    """Where a data set lies; its description."""

    @property
    def source(self) -> Path:
        """The YAML file, for errors."""

    @property
    def root(self) -> Path:
        """The data set's folder."""


class MaskKeys(NamedTuple):
    """The source of a format's keys."""

    source: Path
    """The YAML file, for errors."""
    values: dict[str, Any]
    """Its content."""
    names: tuple[str, ...]
    """The classes."""
    ignore_index: int
    """The ignored label."""
    splits: tuple[str, ...]
    """The splits that the file names."""
    orientation: MaskOrientation
    """Orientation that masks of turned images fit."""


@dataclass(frozen=True, kw_only=True)
class MaskFormat(ABC):
    """Masks of a data set and how they become classes; the fields are its keys in the YAML file."""

    name: ClassVar[str]
    """The value of mask_format."""
    keys: ClassVar[tuple[str, ...]] = ("label_mapping",)
    """Keys that mean something in this format and not in all."""
    instead: ClassVar[str] = "set mask_format too"
    """Advice to who gives a key of another format."""
    extensions: ClassVar[tuple[str, ...]] = _MASK_EXTENSIONS
    """Ends of mask names, where mask_suffix says nothing else."""
    lies_beside: ClassVar[bool] = False
    """Whether a mask lies in its image's own folder, where masks_dir says nothing else."""
    folders: ClassVar[tuple[str, str]] = ("images", "labels")
    """Defaults of images_dir and masks_dir."""
    mask_endings: ClassVar[tuple[str, ...]] = ()
    """Ends of the names of masks that lie beside images and would be taken for some."""
    holds_indices: ClassVar[bool] = False
    """Whether a mask is a file of one integer a pixel, which label_mapping or nothing else makes a class."""
    fits_shards: ClassVar[bool] = False
    """Whether a mask is a file of its own that says all, and can be read from inside another file."""
    where_missing: ClassVar[str | None] = None
    """Advice to who has an image without a mask; None: told by the files that are there."""

    orientation: MaskOrientation = "auto"
    """Orientation that masks fit whose images are turned by their EXIF data."""

    @classmethod
    @abstractmethod
    def parse(cls, keys: MaskKeys) -> MaskFormat:
        """The format as a YAML file describes it.

        Raises:
            DataError: a key breaks a rule.
        """

    @classmethod
    def recognize(cls, contents: FolderContents) -> Recognized | None:
        """The description of a folder of this format; None where it is of another, or this one leaves no marks."""
        del contents
        return None

    @abstractmethod
    def read_stored(self, sample: MaskedImage, classes: Classes) -> Labels | None:
        """The labels as a mask stores them, not turned; None where drawing them needs the image's header.

        Raises:
            DataError: as `read`.
        """

    @abstractmethod
    def content_key(self, classes: Classes) -> dict[str, Any]:
        """Plain values that decide what labels a mask becomes, beside ignore_index, label_mapping and orientation."""

    def read(self, sample: MaskedImage, header: ImageHeader, classes: Classes) -> Labels:
        """The labels of an image, upright.

        Args:
            sample: the image and where its mask is.
            header: of the image.
            classes: what labels there are.

        Raises:
            DataError: the mask cannot be read, is of another size, or holds what is no class.
        """
        stored = self.read_stored(sample, classes)
        assert stored is not None
        fitted = fit_labels(stored.label, header, self.orientation, sample.image, sample.mask, classes.source)
        return Labels(fitted, stored.unlisted)

    def count(self, mask: DataFile, classes: Classes) -> tuple[npt.NDArray[np.int64], dict[int, int]] | None:
        """Pixels of each label (256,) and unlisted values, where that is cheaper than reading; None where it is not.

        Raises:
            DataError: as `read`.
        """
        return None

    def mask_names(self, image: str, stem: str, suffix: str) -> list[str]:
        """Names that the mask of an image may have, the likeliest first.

        Args:
            image: the image's name.
            stem: the part of it that a mask shares.
            suffix: mask_suffix, or nothing.
        """
        del image
        return [stem + suffix] if "." in suffix else [stem + suffix + extension for extension in self.extensions]

    def files_beside(self, mask: Path) -> tuple[Path, ...]:
        """Files besides the mask that decide what its labels are."""
        del mask
        return ()

    @property
    def indices_are_stated(self) -> bool:
        """Whether the YAML file says in words that indices count."""
        return False

    def oddities(self, sample: MaskedImage, header: ImageHeader) -> list[Oddity]:
        """Oddities of a mask, which may be meant so and often are not.

        Raises:
            DataError: as `read`.
        """
        return []

    def listing_oddities(self, images: Mapping[str, Sequence[str]], place: DataPlace) -> list[Oddity]:
        """Oddities of shared files, which may be meant so and often are not; nothing is decoded.

        Args:
            images: split → all its images, listed in a shared file or not.
            place: where the data set lies.

        Raises:
            DataError: as `listed_images`.
        """
        return []

    def shared_file(self, split: str) -> str | None:
        """The one file that holds the masks of a split, as the YAML file says it; None: each image has its own."""
        return None

    def listed_images(
        self, file: str, images: Sequence[str], split: str, place: DataPlace, beside: Sequence[str] = ()
    ) -> dict[str, int | str]:
        """Which images a shared file has masks of, each with its entry.

        Args:
            file: the shared file.
            images: those of the split.
            split: its name, for errors.
            place: where the data set lies.
            beside: images of other splits that share the file: what means one of them means none of these.

        Raises:
            DataError: the file cannot be read, lists none of them, or cannot tell two apart.
        """
        raise AssertionError(f"mask_format {self.name} has no shared file")


def parse_choice(source: Path, values: dict[str, Any], key: str, choices: Sequence[str]) -> Any:
    """One of the choices; where the key is absent, the first.

    Raises:
        DataError: it is none of them.
    """
    value = values.get(key, choices[0])
    if value not in choices:
        raise DataError(f"{source}: {key} must be one of {', '.join(choices)}; found {value!r}")
    return value


def parse_border(keys: MaskKeys) -> PolygonBorder:
    """`polygon_border`; errors as `parse_choice`."""
    border: PolygonBorder = parse_choice(keys.source, keys.values, "polygon_border", get_args(PolygonBorder))
    return border


def parse_background(keys: MaskKeys, mask_format: str) -> int:
    """The label of pixels in no polygon: a class or ignore_index.

    Raises:
        DataError: `background` is absent or none of them.
    """
    name = optional_text(keys.source, keys.values, "background")
    if name == IGNORE_LABEL:
        return keys.ignore_index
    if name in keys.names:
        return keys.names.index(name)
    found = "none" if name is None else repr(name)
    raise DataError(
        f"{keys.source}: mask_format {mask_format} needs background, what pixels in no polygon are: one of names, or "
        f"{IGNORE_LABEL}; found {found} (add a class to names for them if there is none)"
    )
