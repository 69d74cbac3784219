"""Every fault of a data set that would spoil training, all at once."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from effiseg.data.check_pair import Examined, Picture, examine
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.faults import Fault, ListingNotes, Rule
from effiseg.data.findings import RULES, Finding, Kind
from effiseg.data.leftovers import find_leftovers
from effiseg.data.mask_palettes import palette_conflict
from effiseg.data.oddities import tell_oddities
from effiseg.data.parallel import map_in_processes
from effiseg.data.sample import Sample
from effiseg.data.samples import list_samples
from effiseg.data.shards.listing import ShardSamples
from effiseg.data.shards.remote import shown
from effiseg.data.shards.verification import damage_of
from effiseg.data.similar_images import shared_images, similar_images
from effiseg.data.unlabeled_samples import UNLABELED, list_unlabeled
from effiseg.errors import DataError
from effiseg.progress import Progress

_KINDS: dict[Rule, Kind] = {
    "entry": "split",
    "image": "unreadable_image",
    "mask": "missing_mask",
    "pairing": "pairing",
    "annotation": "annotation",
}


@dataclass(frozen=True)
class CheckReport:
    """The findings of a check."""

    spec: DatasetSpec
    """The data set."""
    images: dict[str, int]
    """Split → pairs of image and mask that were examined."""
    class_pixels: dict[str, npt.NDArray[np.int64]]
    """Split → (K,) pixels of each class."""
    findings: list[Finding]
    """In the order of `RULES`."""
    unlabeled: int = 0
    """How many unlabeled pictures were examined."""

    @property
    def faults(self) -> list[Finding]:
        """Faults, which must be mended."""
        return [finding for finding in self.findings if finding.severity == "fault"]

    @property
    def warnings(self) -> list[Finding]:
        """Warnings: oddities that may be meant so."""
        return [finding for finding in self.findings if finding.severity == "warning"]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: all findings, files and values in full."""
        return {
            "dataset": self.spec.name,
            "source": str(self.spec.source),
            "splits": {
                split: {
                    "images": count,
                    "class_pixels": dict(zip(self.spec.names, self.class_pixels[split].tolist(), strict=True)),
                }
                for split, count in self.images.items()
            },
            UNLABELED: self.unlabeled,
            "faults": len(self.faults),
            "warnings": len(self.warnings),
            "findings": [
                {
                    "kind": finding.kind,
                    "severity": finding.severity,
                    "splits": list(finding.splits),
                    "files": list(finding.files),
                    "message": finding.message,
                    "values": {str(value): pixels for value, pixels in finding.values.items()},
                    "ids": list(finding.ids),
                }
                for finding in self.findings
            ],
        }


def check_dataset(spec: DatasetSpec, progress: Progress | None = None, processes: int | None = None) -> CheckReport:
    """Decode every image and mask of every split, and every unlabeled picture, and name all faults.

    Args:
        spec: the data set.
        progress: called after every pair.
        processes: pairs decoded at a time; None: one a core.

    Raises:
        ResourceError: a process that decodes was ended by the system.
    """
    notes = ListingNotes()
    listed, findings = _list_splits(spec, notes)
    unlabeled: Sequence[Sample] = []
    try:
        unlabeled = list_unlabeled(spec, [])
    except DataError as error:
        findings.append(Finding("split", str(error), (UNLABELED,), (str(spec.source),)))
    findings += _damaged_shards({**listed, UNLABELED: unlabeled}, processes)
    items = [(split, sample) for split, samples in listed.items() for sample in samples]
    items += [(UNLABELED, sample) for sample in unlabeled]
    if not all(sample.can_be_sent for _, sample in items):
        processes = 1
    examined = list(map_in_processes(partial(examine, spec.classes), items, progress, processes))
    findings += [finding for one in examined for finding in one.findings]
    splits, files = [split for split, _ in items], [str(sample.image) for _, sample in items]
    pictures = _unless_learnt_already([one.picture for one in examined], splits)
    findings += shared_images(pictures, splits, files)
    labelled = len(items) - len(unlabeled)
    findings += similar_images(pictures[:labelled], splits[:labelled], files[:labelled])
    class_pixels = {split: _class_pixels(spec, splits, examined, split) for split in listed}
    findings += _absent_classes(spec, class_pixels)
    findings += find_leftovers(spec, notes)
    oddities = [(split, oddity) for split, one in zip(splits, examined, strict=True) for oddity in one.oddities]
    with contextlib.suppress(DataError):  # told where the splits were listed
        oddities += [("", oddity) for oddity in spec.masks.listing_oddities(notes.images, spec)]
    findings += tell_oddities(oddities)
    palettes = [(sample.mask, one.palette or {}) for (_, sample), one in zip(items, examined, strict=True)]
    if (conflict := palette_conflict(spec, palettes)) is not None:
        findings.append(Finding("stated_palette" if spec.masks.indices_are_stated else "palette", conflict))
    order = list(RULES)
    return CheckReport(
        spec,
        {split: len(samples) for split, samples in listed.items()},
        class_pixels,
        sorted(findings, key=lambda finding: order.index(finding.kind)),
        len(unlabeled),
    )


def _unless_learnt_already(pictures: Sequence[Picture | None], splits: Sequence[str]) -> list[Picture | None]:
    """None for unlabeled pictures that stand in train too: they may."""
    learnt = {picture.digest for picture, split in zip(pictures, splits, strict=True) if picture and split == "train"}
    return [
        None if picture and split == UNLABELED and picture.digest in learnt else picture
        for picture, split in zip(pictures, splits, strict=True)
    ]


def _list_splits(spec: DatasetSpec, notes: ListingNotes) -> tuple[dict[str, Sequence[Sample]], list[Finding]]:
    """The pairs of every split, and what is wrong with the rest; no image or mask is opened.

    Args:
        spec: the data set.
        notes: where it is noted what was passed over.
    """
    listed: dict[str, Sequence[Sample]] = {}
    findings: list[Finding] = []
    for split in spec.splits:
        faults: list[Fault] = []
        try:
            listed[split] = list_samples(spec, split, faults, notes)
        except DataError as error:
            listed[split] = []
            findings.append(Finding("split", str(error), (split,), (str(spec.source),)))
        findings += [Finding(_KINDS[fault.rule], fault.message, (split,), (fault.file,)) for fault in faults]
    return listed, findings


def _damaged_shards(listed: dict[str, Sequence[Sample]], processes: int | None) -> list[Finding]:
    """Shards of all splits whose bytes have changed."""
    shards = [
        (split, shard)
        for split, samples in listed.items()
        if isinstance(samples, ShardSamples)
        for shard in samples.addresses
    ]
    damage = map_in_processes(damage_of, [shard for _, shard in shards], processes=processes, chunk=1)
    return [
        Finding("shard", found, (split,), (shown(shard),))
        for (split, shard), found in zip(shards, damage, strict=True)
        if found is not None
    ]


def _class_pixels(
    spec: DatasetSpec, splits: Sequence[str], examined: Sequence[Examined], split: str
) -> npt.NDArray[np.int64]:
    total = np.zeros(spec.num_classes, dtype=np.int64)
    for name, one in zip(splits, examined, strict=True):
        if name == split and one.class_pixels is not None:
            total += one.class_pixels
    return total


def _absent_classes(spec: DatasetSpec, class_pixels: dict[str, npt.NDArray[np.int64]]) -> list[Finding]:
    findings = []
    for split, pixels in class_pixels.items():
        if not pixels.any():  # a split without a single mask has other faults
            continue
        consequence = "it cannot be learnt" if split == "train" else "it has no IoU there"
        for name in (name for name, count in zip(spec.names, pixels, strict=True) if not count):
            message = (
                f"{spec.source}: class {name!r} should occur in {split}; found in none of its masks; {consequence}: "
                "add images with it, correct label_mapping, or remove it from names"
            )
            findings.append(Finding("absent_class", message, (split,)))
    return findings
