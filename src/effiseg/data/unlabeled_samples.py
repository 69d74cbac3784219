"""Pictures without masks: what they are as samples, and where they are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from effiseg.data.classes import Classes
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.faults import ListingNotes
from effiseg.data.file_sample import refuse_damaged
from effiseg.data.image_file import decode_image
from effiseg.data.image_names import images_of, stem_of
from effiseg.data.oddities import Oddity, page_oddities
from effiseg.data.reading import Labels
from effiseg.data.regular_file import DataFile, refuse_irregular
from effiseg.data.sample import Sample
from effiseg.data.samples import unique_ids
from effiseg.data.shard_samples import split_of_shards
from effiseg.data.shards.listing import MemberNames, names_shards
from effiseg.data.transforms import UInt8Array

UNLABELED = "unlabeled"
"""Key of their entries, and what stands in place of a split's name."""


@dataclass(frozen=True)
class UnlabeledSample(Sample):
    """One image file; every pixel of its labels is ignored."""

    is_labelled: ClassVar[bool] = False

    def read_image(self) -> UInt8Array:
        """See `effiseg.data.image_file.decode_image`."""
        return decode_image(self.image)[0]

    def read_labels(self, classes: Classes) -> Labels:
        """As large as the image, for all that wants pairs, as the cache does."""
        return _ignored(self.read_image(), classes)

    def read_pair(self, classes: Classes) -> tuple[UInt8Array, UInt8Array]:
        """The image is read once."""
        image = self.read_image()
        return image, _ignored(image, classes).label

    def check(self, classes: Classes) -> dict[int, int]:
        """The image is read."""
        self.read_image()
        return {}

    def read_whole_image(self) -> UInt8Array:
        """See `FileSample`."""
        refuse_damaged(self.image)
        return self.read_image()

    def oddities(self) -> list[Oddity]:
        """Of its image."""
        return page_oddities([self.image])

    @property
    def parts(self) -> tuple[DataFile, ...]:
        """The image alone."""
        return (self.image,)


def _ignored(image: UInt8Array, classes: Classes) -> Labels:
    return Labels(np.full(image.shape[:2], classes.ignore_index, np.uint8), {})


def list_unlabeled(spec: DatasetSpec, entries: Sequence[str]) -> Sequence[Sample]:
    """The pictures that a run's `unlabeled`, or else the data set's, leads to; sorted by path, each once.

    Args:
        spec: the data set; its `image_suffix` holds for its own entries.
        entries: folders, globs, .txt lists and shards of the run's settings, where a mask in a list or shard is passed
            over; empty: those of the data set.

    Raises:
        DataError: an entry leads to no image, or to what is no regular file.
    """
    if entries:
        spec = replace(spec, image_suffix=None)
    if any(map(names_shards, entries or spec.unlabeled)):
        return split_of_shards(
            spec, UNLABELED, entries or spec.unlabeled, UnlabeledSample, MemberNames(None, spec.image_suffix)
        )
    notes = ListingNotes()
    found = {
        image for entry in entries or spec.unlabeled for image, _ in images_of(spec, UNLABELED, entry, None, notes)
    }
    images = sorted(found)
    for image in images:
        refuse_irregular(image, "image")
    ids = unique_ids([(stem_of(spec, image), image) for image in images], None)
    return [UnlabeledSample(name, Path(image), Path(image)) for name, image in zip(ids, images, strict=True)]
