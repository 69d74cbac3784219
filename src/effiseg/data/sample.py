"""A sample: an image with its labels, which reads itself, whatever it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from effiseg.data.classes import Classes
from effiseg.data.mask_palettes import Palette
from effiseg.data.oddities import Oddity
from effiseg.data.reading import Labels, map_labels
from effiseg.data.regular_file import DataFile, absolute_name, file_of
from effiseg.data.transforms import UInt8Array


@dataclass(frozen=True)
class Sample(ABC):
    """One image with its labels.

    A kind of sample says how to read both; what else it says here makes reading it cheaper, or lets it be kept.
    """

    can_be_sent: ClassVar[bool] = True
    """Whether it is fit, and small enough, to be handed to other processes for counting."""

    is_labelled: ClassVar[bool] = True
    """Whether it has labels; one without counts as a sample whose every pixel is ignored."""

    id: str
    """Its name; unique within the split."""
    image: DataFile
    """The image file, or what stands for it in errors."""
    mask: DataFile
    """The file that holds the mask, or what stands for it in errors."""

    @abstractmethod
    def read_image(self) -> UInt8Array:
        """The image, (H, W, 3) uint8 RGB, upright.

        Raises:
            DataError: it cannot be had, or breaks a rule.
        """

    @abstractmethod
    def read_labels(self, classes: Classes) -> Labels:
        """The labels (H, W), upright, and the raw values that label_mapping does not list.

        Raises:
            DataError: they cannot be had, are not as large as the image, or hold what is no class.
        """

    def read_pair(self, classes: Classes) -> tuple[UInt8Array, UInt8Array]:
        """Image (H, W, 3) uint8 RGB and labels (H, W) uint8, both upright.

        Raises:
            DataError: as `read_image` and `read_labels`.
        """
        return self.read_image(), self.read_labels(classes).label

    def of_epoch(self, seed: int, epoch: int) -> Sample:
        """The sample at its place in an epoch of a run with that seed; a file is the same in all of them."""
        del seed, epoch
        return self

    def check(self, classes: Classes) -> dict[int, int]:
        """Read both, and return the raw values that label_mapping does not list, with their pixels.

        Raises:
            DataError: as `read_image` and `read_labels`.
        """
        self.read_image()
        return self.read_labels(classes).unlisted

    def count_labels(self, classes: Classes) -> tuple[npt.NDArray[np.int64], dict[int, int]]:
        """Pixels of each label, (256,), and of the raw values that label_mapping does not list.

        Raises:
            DataError: as `read_labels`.
        """
        labels, unlisted = self.read_labels(classes)
        return np.bincount(labels.reshape(-1), minlength=256), unlisted

    @property
    def parts(self) -> tuple[DataFile, ...]:
        """The files it is read from, the image first; empty: it is none, or not told."""
        return ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files on this machine that hold its parts; while size and time of all stay, so does the sample."""
        return tuple(dict.fromkeys(map(file_of, self.parts)))

    @property
    def key(self) -> str:
        """Key of what is kept of the sample."""
        return "\0".join(map(absolute_name, self.parts))

    @property
    def holds_indices(self) -> bool:
        """Whether its labels are stored as integers, which label_mapping or nothing else makes classes."""
        return True

    def read_whole_image(self) -> UInt8Array:
        """The image, after a search for damage that reading passes over.

        Raises:
            DataError: as `read_image`, or the image is not whole.
        """
        return self.read_image()

    def palette(self) -> Palette | None:
        """The colors that its mask's indices have in its file; None where they say nothing.

        Raises:
            DataError: as `read_labels`.
        """
        return None

    def oddities(self) -> list[Oddity]:
        """Oddities: what may be meant so and often is not.

        Raises:
            DataError: as `read_labels`.
        """
        return []

    def read_labels_alone(self, classes: Classes) -> Labels | None:
        """The labels of a sample whose image cannot be read, perhaps not upright; None where they need it.

        Raises:
            DataError: as `read_labels`.
        """
        return None


class PairSample(Sample):
    """A sample whose image and labels come together, and are asked for once."""

    @abstractmethod
    def fetch(self) -> tuple[UInt8Array, npt.NDArray[np.integer[Any]]]:
        """Image (H, W, 3) uint8 RGB and raw labels (H, W), whose values are not checked.

        Raises:
            DataError: they cannot be had, or are no such pair.
        """

    def read_image(self) -> UInt8Array:
        """See `Sample`."""
        return self.fetch()[0]

    def read_labels(self, classes: Classes) -> Labels:
        """See `Sample`."""
        return map_labels(self.fetch()[1], classes, self.mask)

    def read_pair(self, classes: Classes) -> tuple[UInt8Array, UInt8Array]:
        """See `Sample`."""
        image, raw = self.fetch()
        return image, map_labels(raw, classes, self.mask).label

    def check(self, classes: Classes) -> dict[int, int]:
        """See `Sample`."""
        return self.read_labels(classes).unlisted
