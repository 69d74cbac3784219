"""Oddities, which may be meant so and often are not, noted while samples are examined and told together."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from effiseg.data.findings import Finding, Kind
from effiseg.data.image_file import count_pages, open_image
from effiseg.data.regular_file import AnyPath
from effiseg.errors import DataError

_SHOWN = 5


class Oddity(NamedTuple):
    """One thing that was noted of a sample."""

    kind: Kind
    """Which."""
    file: str
    """Where: what has one file is told in one finding."""
    ids: tuple[str, ...]
    """Their places: numbers of annotations, lines, or names."""


def page_oddities(paths: Iterable[AnyPath]) -> list[Oddity]:
    """Images of several pages, of which the first is used; a file that cannot be read has none.

    Args:
        paths: the images.
    """
    found = []
    for path in paths:
        with contextlib.suppress(DataError), open_image(path) as image:
            if count_pages(image) > 1:
                folder, name = os.path.split(path)
                found.append(Oddity("several_pages", folder or ".", (name,)))
    return found


_MESSAGES: dict[Kind, tuple[str, str]] = {
    "hidden_annotation": (
        "an annotation should show somewhere; {} end invisible below others",
        "larger ones are drawn first, and of equal ones the later lies on top",
    ),
    "empty_annotation": (
        "an annotation should hold a pixel; {} hold none",
        "contours that were traced around a mask need polygon_border: pixels",
    ),
    "unscaled_annotation": (
        "coordinates should be pixels; those of {} lie between 0 and 1",
        "multiply them by the image's width and height",
    ),
    "box_annotation": (
        "a box should cover its object exactly; {} are drawn as rectangles",
        "where they were only set around objects, draw polygons or remove them",
    ),
    "flat_annotation": (
        "an annotation should have an area; {} are points, lines or the like, and are passed over",
        "draw polygons, or remove them",
    ),
    "orphan_annotation": (
        "an annotation should belong to a listed image; {} name an image_id that no image has",
        "add the images, or remove the annotations",
    ),
    "unfound_image": (
        "every listed image should be in a split; {} are in none",
        "correct file_name or the splits, or remove them",
    ),
    "loose_name": (
        "folders in file_name should be those of the image; {} are another machine's, and only the last part is found",
        "where folders matter, write paths below the data set's folder",
    ),
    "several_pages": (
        "an image should have one page; {} have several, of which the first is used",
        "split them into files",
    ),
}


def tell_oddities(oddities: Iterable[tuple[str, Oddity]]) -> list[Finding]:
    """One finding for each kind and file, with the count and the first few.

    Args:
        oddities: each with its split.
    """
    groups: dict[tuple[Kind, str], list[tuple[str, Oddity]]] = defaultdict(list)
    for split, oddity in oddities:
        groups[oddity.kind, oddity.file].append((split, oddity))
    findings = []
    for (kind, file), group in groups.items():
        ids = tuple(name for _, oddity in group for name in oddity.ids)
        rule, fix = _MESSAGES[kind]
        shown = ", ".join(ids[:_SHOWN]) + (", …" if len(ids) > _SHOWN else "")
        splits = tuple(dict.fromkeys(split for split, _ in group if split))
        message = f"{file}: {rule.format(len(ids))}: {shown}; {fix}"
        findings.append(Finding(kind, message, splits, (file,), ids=ids))
    return findings
