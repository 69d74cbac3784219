"""What lies beside the samples of a data set and is none of them."""
# ruff: noqa: PTH118, PTH119, PTH120, PTH122

from __future__ import annotations

import os
from typing import NamedTuple

from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.faults import ListingNotes
from effiseg.data.findings import Finding
from effiseg.data.image_names import IMAGE_EXTENSIONS
from effiseg.data.mask_names import MaskNames


class Leftovers(NamedTuple):
    """Paths, sorted."""

    passed_over: list[str]
    """Hidden files and folders."""
    unsupported: list[str]
    """Files in folders of images that have a mask and are no images that are read."""
    masks: list[str]
    """Masks without an image, in the folders that belong to folders of images."""


def find_leftovers(spec: DatasetSpec, notes: ListingNotes) -> Leftovers:
    """What the listing of all splits left over.

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
    return Leftovers(sorted(set(notes.passed_over)), sorted(unsupported), sorted(masks))


def leftover_findings(leftovers: Leftovers) -> list[Finding]:
    """A warning for each kind, with all paths."""
    findings = []
    if paths := leftovers.passed_over:
        message = f"{paths[0]}: hidden files and folders are passed over; found {len(paths)}"
        findings.append(Finding("passed_over", message, (), tuple(paths)))
    if paths := leftovers.unsupported:
        known = " ".join(IMAGE_EXTENSIONS)
        message = f"{paths[0]}: images end in {known}; found {len(paths)} other files that have a mask; convert them"
        findings.append(Finding("unsupported_image", message, (), tuple(paths)))
    if paths := leftovers.masks:
        message = f"{paths[0]}: every mask should have an image; found {len(paths)} without; add or remove them"
        findings.append(Finding("unpaired_mask", message, (), tuple(paths)))
    return findings


def describe_leftovers(spec: DatasetSpec, leftovers: Leftovers) -> str | None:
    """One line with the numbers; None where there are none."""
    parts = [
        f"{len(paths)} {what} ({paths[0]}{', …' if len(paths) > 1 else ''})"
        for paths, what in (
            (leftovers.passed_over, "hidden files or folders"),
            (leftovers.unsupported, "pictures of unknown suffixes that have a mask"),
            (leftovers.masks, "masks without a picture"),
        )
        if paths
    ]
    return f"{spec.source}: passed over {', '.join(parts)}; see `effiseg data check`" if parts else None
