"""What every mask format is: its keys in the YAML file, where its masks lie, and reading them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from effiseg.data.classes import IGNORE_LABEL, Classes
from effiseg.data.image_file import ImageHeader
from effiseg.data.orientation import MaskOrientation, fit_labels
from effiseg.data.reading import Labels
from effiseg.data.yaml_values import optional_text
from effiseg.errors import DataError

MASK_EXTENSIONS = (".png", ".bmp", ".tif", ".tiff")


class MaskKeys(NamedTuple):
    """What a format's keys are read from."""

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
    """What masks of turned images fit."""


@dataclass(frozen=True, kw_only=True)
class MaskFormat(ABC):
    """What the masks of a data set are and how they become classes; the fields are its keys in the YAML file."""

    name: ClassVar[str]
    """The value of mask_format."""
    keys: ClassVar[tuple[str, ...]] = ("label_mapping",)
    """Keys that mean something in this format and not in all."""
    instead: ClassVar[str] = "set mask_format too"
    """Advice to who gives a key of another format."""
    extensions: ClassVar[tuple[str, ...]] = MASK_EXTENSIONS
    """What names of masks end in, where mask_suffix says nothing else."""
    holds_indices: ClassVar[bool] = False
    """Whether a mask is a file of one integer a pixel, which label_mapping or nothing else makes a class."""
    where_missing: ClassVar[str | None] = None
    """Advice to who has an image without a mask; None: told by the files that are there."""

    orientation: MaskOrientation = "auto"
    """What the masks of images turned by their EXIF data fit."""

    @classmethod
    @abstractmethod
    def parse(cls, keys: MaskKeys) -> MaskFormat:
        """The format as a YAML file describes it.

        Raises:
            DataError: a key breaks a rule.
        """

    @abstractmethod
    def read_stored(self, image: Path, mask: Path, classes: Classes) -> Labels | None:
        """The labels as a mask stores them, not turned; None where drawing them needs the image's header.

        Raises:
            DataError: as `read`.
        """

    @abstractmethod
    def content_key(self, classes: Classes) -> dict[str, Any]:
        """Plain values that decide what labels a mask becomes, beside ignore_index, label_mapping and orientation."""

    def read(self, image: Path, mask: Path, header: ImageHeader, classes: Classes) -> Labels:
        """The labels of an image, upright.

        Args:
            image: its file.
            mask: the file that holds its mask.
            header: of the image.
            classes: what labels there are.

        Raises:
            DataError: the mask cannot be read, is of another size, or holds what is no class.
        """
        stored = self.read_stored(image, mask, classes)
        assert stored is not None
        fitted = fit_labels(stored.label, header, self.orientation, image, mask, classes.source)
        return Labels(fitted, stored.unlisted)

    def count(self, mask: Path, classes: Classes) -> tuple[npt.NDArray[np.int64], dict[int, int]] | None:
        """Pixels of each label (256,) and unlisted values, where that is cheaper than reading; None where it is not.

        Raises:
            DataError: as `read`.
        """
        return None

    def shared_file(self, split: str) -> str | None:
        """The one file that holds the masks of a split, as the YAML file says it; None: each image has its own."""
        return None

    def listed_images(self, file: str, images: Sequence[str], split: str, source: Path) -> list[str]:
        """Which images a shared file has masks of.

        Args:
            file: the shared file.
            images: those of the split.
            split: its name, for errors.
            source: the data set's description, for errors.

        Raises:
            DataError: the file cannot be read, lists none of them, or cannot tell two apart.
        """
        raise AssertionError(f"mask_format {self.name} has no shared file")


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
