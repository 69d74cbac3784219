"""Faults of a data set's files: raised, or noted to be told together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from effiseg.errors import DataError

Rule = Literal["entry", "image", "mask", "pairing", "annotation"]
"""entry: what the YAML file or a list names is not there. image: one is no file that can be read. mask: an image has
none. pairing: a mask or an id belongs to several images. annotation: a file that holds the masks of a split cannot be
used."""


class Fault(NamedTuple):
    """Reasons that keep an image out of a split."""

    rule: Rule
    """Which kind of fault."""
    message: str
    """One line."""
    file: str
    """The file concerned."""


@contextmanager
def noting(faults: list[Fault] | None, rule: Rule, file: object) -> Iterator[None]:
    """Let a DataError pass, or note it where faults are collected."""
    try:
        yield
    except DataError as error:
        if faults is None:
            raise
        faults.append(Fault(rule, str(error), str(file)))


@dataclass
class ListingNotes:
    """Files passed over while a data set was listed, and what else lies there."""

    passed_over: list[str] = field(default_factory=list)
    """Hidden files and folders."""
    images: dict[str, list[str]] = field(default_factory=dict)
    """Split → its images, with a mask or without."""
    others: list[str] = field(default_factory=list)
    """Files in folders of images that are no images by their names."""
    walked: set[str] = field(default_factory=set)
    """Folders whose images were all taken."""
    masks: set[str] = field(default_factory=set)
    """Those that belong to an image."""
    mask_folders: dict[str, str] = field(default_factory=dict)
    """Folder of masks → the folder of their images."""
