"""Leftovers: files beside the samples of a data set that are none of them."""
# ruff: noqa: PTH118, PTH119, PTH120, PTH122

from __future__ import annotations

import os

from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.faults import ListingNotes
from effiseg.data.findings import Finding, Kind
from effiseg.data.mask_names import MaskNames
from effiseg.data.names import IMAGE_EXTENSIONS


def find_leftovers(spec: DatasetSpec, notes: ListingNotes) -> list[Finding]:
    """A warning for each kind of what the listing of all splits left over, with all paths.

    Args:
        spec: the data set.
        notes: from `list_samples` of its splits.
    """
    others: dict[tuple[str, str], str] = {}
    for path in notes.others:
        others.setdefault((os.path.dirname(path), os.path.splitext(os.path.basename(path))[0]), path)
    names = MaskNames(spec, notes)
    unsupported, masks = [], []
    for folder, image_folder in notes.mask_folders.items():
        for name in names.names_in(folder):
            path, stem = os.path.join(folder, name), names.stem_of(name)
            if stem is None or path in notes.masks:
                continue
            if spec.image_suffix is None and (image_folder, stem) in others:
                unsupported.append(others[image_folder, stem])
            else:
                masks.append(path)
    found: list[tuple[Kind, list[str], str]] = [
        ("passed_over", notes.passed_over, "hidden files and folders are passed over; found {}"),
        (
            "unsupported_image",
            unsupported,
            f"images end in {' '.join(IMAGE_EXTENSIONS)}; found {{}} other files that have a mask; convert them",
        ),
        ("unpaired_mask", masks, "every mask should have an image; found {} without; add or remove them"),
    ]
    findings = []
    for kind, listed, rule in found:
        if paths := sorted(set(listed)):
            findings.append(Finding(kind, f"{paths[0]}: {rule.format(len(paths))}", (), tuple(paths)))
    return findings
