"""Notices of training on its data, one line each: what `data check` would find without decoding twice."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence

from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.faults import ListingNotes
from effiseg.data.leftovers import find_leftovers
from effiseg.data.mask_counts import MaskCounts
from effiseg.data.mask_palettes import palette_conflict
from effiseg.data.oddities import page_oddities, tell_oddities
from effiseg.data.regular_file import EmbeddedFile, open_regular
from effiseg.data.sample import Sample
from effiseg.errors import DataError

Identity = tuple[object, ...]


def listing_notices(
    spec: DatasetSpec, train: Sequence[Sample], val: Sequence[Sample], notes: ListingNotes
) -> list[str]:
    """Lines about what was listed; no image or mask is decoded.

    Args:
        spec: the data set.
        train: its samples.
        val: its samples.
        notes: of the listing.
    """
    overlap = describe_overlap(spec, train, val)
    oddities = [("", oddity) for oddity in spec.masks.listing_oddities(notes.images, spec)]
    findings = find_leftovers(spec, notes) + tell_oddities(oddities)
    return ([] if overlap is None else [overlap]) + [finding.message for finding in findings]


def first_notices(spec: DatasetSpec, samples: Sequence[Sample]) -> list[str]:
    """Lines about samples that are decoded before training starts: pages, and palettes that contradict each other.

    Raises:
        DataError: palettes say that indices mean nothing, and the description does not say that they count.
    """
    several = page_oddities(path for sample in samples for path in sample.parts[:1])
    lines = [finding.message for finding in tell_oddities([("train", oddity) for oddity in several])]
    conflict = palette_conflict(spec, [(sample.mask, sample.palette() or {}) for sample in samples])
    if conflict is not None:
        if not spec.masks.indices_are_stated:
            raise DataError(conflict)
        lines.append(conflict)
    return lines


def label_notices(spec: DatasetSpec, split: str, samples: Sequence[Sample], counts: MaskCounts) -> list[str]:
    """Lines about what the masks of a split hold.

    Raises:
        DataError: train holds no labelled pixel: there would be nothing to learn.
    """
    labelled = counts.classes.sum(axis=1)
    blank = [sample for sample, pixels in zip(samples, labelled.tolist(), strict=True) if not pixels]
    if samples and len(blank) == len(samples):
        line = (
            f"{spec.source}: {split} should hold labelled pixels; every pixel of its {len(samples)} masks is ignored; "
            "correct the masks, label_mapping or ignore_index"
        )
        if split == "train":
            raise DataError(line)
        return [line]
    lines = []
    if blank:
        lines.append(
            f"{spec.source}: a mask should hold a class somewhere; {len(blank)} of {len(samples)} of {split} are "
            f"ignored on every pixel, as {blank[0].mask}"
        )
    absent = [name for name, pixels in zip(spec.names, counts.classes.sum(axis=0).tolist(), strict=True) if not pixels]
    if absent and split == "train":
        shown = ", ".join(map(repr, absent[:5])) + (", …" if len(absent) > 5 else "")
        lines.append(
            f"{spec.source}: every class should occur in train; {len(absent)} of {len(spec.names)} never do and cannot "
            f"be learnt: {shown}"
        )
    return lines


def describe_overlap(
    spec: DatasetSpec, train: Sequence[Sample], val: Sequence[Sample], where: str = "train"
) -> str | None:
    """One line about pictures that are learnt and in val: the same files, links followed, or copies of equal bytes.

    Copies that were saved anew are not seen: that needs their pixels, which `check_dataset` compares.

    Args:
        spec: the data set.
        train: what is learnt.
        val: what is evaluated.
        where: what to call `train`.
    """
    sizes: tuple[set[int], ...] = tuple({_state(sample)[0] for sample in samples} for samples in (train, val))
    common = (sizes[0] & sizes[1]) - {-1}
    first: dict[Identity, Sample] = {}
    for sample in val:
        for identity in _identities(sample, common):
            first[identity] = sample
    shared: dict[str, Sample] = {}
    for sample in train:
        for identity in _identities(sample, common):
            if identity in first:
                shared[first[identity].id] = first[identity]
    if not shared:
        return None
    return (
        f"{spec.source}: an image belongs to one split; found {len(shared)} of {len(val)} images of val in {where} "
        f"too, as {next(iter(shared.values())).image}; scores on val are then of images that were learnt"
    )


def _state(sample: Sample) -> tuple[int, Identity]:
    """Size of an image file, and what it is known by; -1 where it is no file."""
    with contextlib.suppress(OSError, IndexError):
        image = sample.parts[0]
        if isinstance(image, EmbeddedFile):
            start, size = image.extent
            return size, (image.container, start)
        file = os.stat(image)  # noqa: PTH116 - 100 000 of them
        return file.st_size, (file.st_dev, file.st_ino)
    return -1, ()


def _identities(sample: Sample, sizes: set[int]) -> list[Identity]:
    """The mark of one picture in two samples: the file, and its bytes where one of its size is in both splits."""
    size, own = _state(sample)
    if size not in sizes:
        return []
    found = [own]
    with contextlib.suppress(DataError, OSError), open_regular(sample.parts[0], "image") as stream:
        found.append((size, hashlib.blake2b(stream.read()).digest()))
    return found
