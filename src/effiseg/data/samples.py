"""The samples of a split, and what can be said of them without decoding any."""
# ruff: noqa: PTH100, PTH120

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.faults import Fault, ListingNotes, noting
from effiseg.data.file_sample import FileSample
from effiseg.data.image_names import images_of, stem_of
from effiseg.data.mask_names import MaskNames
from effiseg.data.names import clean_id
from effiseg.data.regular_file import refuse_irregular
from effiseg.data.sample import Sample
from effiseg.data.shard_samples import labelled_shards
from effiseg.data.shards.listing import names_shards
from effiseg.errors import DataError

Item = TypeVar("Item")


def list_samples(
    spec: DatasetSpec, split: str, faults: list[Fault] | None = None, notes: ListingNotes | None = None
) -> Sequence[Sample]:
    """The samples of a split, sorted by image path; an image named twice counts once.

    The id is the image's name without `image_suffix` (or its extension). Names that occur in several folders
    are told apart by those folders: "a/0001.jpg" and "b/0001.jpg" become "a__0001" and "b__0001".

    With COCO annotations, images that the split's JSON file does not list are passed over. Samples in shards stand in
    the order of their shards.

    Args:
        spec: the data set.
        split: name of the split.
        faults: where faults are noted; the samples that they concern may be missing. None: the first one is raised.
        notes: where it is noted what was passed over.

    Raises:
        DataError: the data set has no such split, an entry leads to no image or to what is no regular file, an image
            has no mask, or two images share a mask; the message names the file.
    """
    notes = notes or ListingNotes()
    if split not in spec.splits:
        raise DataError(f"{spec.source}: no split {split!r}; found {', '.join(spec.splits)}")
    if spec.listings is not None and split in spec.listings:
        return spec.listings[split]()
    if any(map(names_shards, spec.splits[split])):
        return labelled_shards(spec, split)
    listed = _listed(spec, split, faults, notes)
    images: list[str] = []
    for image in sorted(listed):
        with noting(faults, "image", image):
            refuse_irregular(image, "image")
            images.append(image)
    notes.images[split] = images
    shared = spec.masks.shared_file(split)
    if shared is not None:
        pairs: list[_Pair] = []
        file = str(spec.root / shared)
        with noting(faults, "annotation", file):
            others = [other for other in spec.splits if other != split and spec.masks.shared_file(other) == shared]
            beside = [image for other in others for image in _listed(spec, other, [], ListingNotes())]
            entries = spec.masks.listed_images(file, images, split, spec, beside)
            pairs = [_Pair(stem_of(spec, image), image, file, entry) for image, entry in entries.items()]
    else:
        pairs = _with_masks(spec, images, listed, faults, notes)
    ids = unique_ids([(pair.stem, pair.image) for pair in pairs], faults)
    return [
        FileSample(name, Path(pair.image), Path(pair.mask), spec.masks, pair.entry)
        for name, pair in zip(ids, pairs, strict=True)
    ]


def _listed(spec: DatasetSpec, split: str, faults: list[Fault] | None, notes: ListingNotes) -> dict[str, str | None]:
    """The images that the entries of a split lead to → the mask that a list names."""
    listed: dict[str, str | None] = {}
    for entry in spec.splits[split]:
        with noting(faults, "entry", spec.source):
            for image, mask in images_of(spec, split, entry, faults, notes):
                if mask and listed.get(image, mask) not in (mask, None):
                    raise DataError(f"{image}: an image has one mask; found {listed[image]} and {mask}; remove one")
                listed[image] = mask or listed.get(image)
    return listed


def evenly_spread(items: Sequence[Item], most: int | None) -> list[Item]:
    """At most so many items, the first among them and equally far apart; None: all."""
    count = min(most or len(items), len(items))
    return [items[index * len(items) // count] for index in range(count)]


class _Pair(NamedTuple):
    stem: str
    image: str
    mask: str
    entry: int | str | None = None


def _with_masks(
    spec: DatasetSpec,
    images: Sequence[str],
    written: Mapping[str, str | None],
    faults: list[Fault] | None,
    notes: ListingNotes,
) -> list[_Pair]:
    """Images, each with the mask that a list names, or else the one that belongs to its name."""
    pairs: list[_Pair] = []
    mask_names = MaskNames(spec, notes)
    for image in images:
        stem = stem_of(spec, image)
        with noting(faults, "mask", image):
            mask = written[image] or mask_names.find(image, stem)
            refuse_irregular(mask, "mask")
            pairs.append(_Pair(stem, image, mask))
    notes.masks.update(pair.mask for pair in pairs)
    _refuse_shared([(pair.image, pair.mask) for pair in pairs], faults)
    return pairs


def list_for_training(
    spec: DatasetSpec, notes: ListingNotes | None = None
) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """The samples of train and of val, none where there is no such split: what can be checked without decoding.

    Args:
        spec: the data set.
        notes: where it is noted what was passed over.

    Raises:
        DataError: the first fault of either split, and how many more there are.
    """
    faults: list[Fault] = []
    listed = {split: list_samples(spec, split, faults, notes) for split in ("train", "val") if split in spec.splits}
    if faults:
        more = f" (and {len(faults) - 1} more: `effiseg data check` names all)" if len(faults) > 1 else ""
        raise DataError(f"{faults[0].message}{more}")
    return listed.get("train", []), listed.get("val", [])


def check_samples(spec: DatasetSpec, samples: Sequence[Sample]) -> dict[int, int]:
    """Decode samples and check their sizes and labels, on the CPU.

    Returns:
        Raw values that label_mapping does not list → number of pixels, over all samples.

    Raises:
        DataError: as `Sample.check`.
    """
    total: dict[int, int] = {}
    for sample in samples:
        for value, count in sample.check(spec).items():
            total[value] = total.get(value, 0) + count
    return total


def _refuse_shared(pairs: list[tuple[str, str]], faults: list[Fault] | None) -> None:
    """A mask belongs to one image."""
    owner: dict[str, str] = {}
    for image, mask in pairs:
        other = owner.setdefault(mask, image)
        if other != image:
            with noting(faults, "pairing", mask):
                raise DataError(f"{mask}: a mask belongs to one image; found {other} and {image}; remove one")


def unique_ids(stems_and_images: list[tuple[str, str]], faults: list[Fault] | None) -> list[str]:
    """The stems as ids; where several images share one, preceded by the folders that tell them apart."""
    folders: dict[str, list[str]] = defaultdict(list)
    for stem, image in stems_and_images:
        folders[stem].append(os.path.dirname(os.path.abspath(image)))
    ids: list[str] = []
    for stem, image in stems_and_images:
        if len(folders[stem]) == 1:
            ids.append(clean_id(stem))
            continue
        shared = os.path.commonpath(folders[stem])
        between = os.path.relpath(os.path.dirname(os.path.abspath(image)), shared)
        parts = [clean_id(part) for part in Path(between).parts if part != "."]
        ids.append(clean_id("__".join([*parts, stem])))
    owner: dict[str, str] = {}
    for name, (_, image) in zip(ids, stems_and_images, strict=True):
        other = owner.setdefault(name, image)
        if other != image:
            with noting(faults, "pairing", image):
                raise DataError(f"{image}: sample ids must differ; {other} is called {name!r} too; rename one")
    return ids
