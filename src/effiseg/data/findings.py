"""Findings of a check of a data set: a closed set of kinds, each a fault or a warning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from effiseg.errors import printable

Kind = Literal[
    "split",
    "shard",
    "missing_mask",
    "pairing",
    "unreadable_image",
    "unreadable_mask",
    "size_mismatch",
    "colour_mask",
    "annotation",
    "palette",
    "foreign_values",
    "stated_palette",
    "unlisted_values",
    "nothing_labelled",
    "absent_class",
    "shared_image",
    "repeated_image",
    "similar_image",
    "hidden_annotation",
    "empty_annotation",
    "unscaled_annotation",
    "box_annotation",
    "flat_annotation",
    "orphan_annotation",
    "unfound_image",
    "loose_name",
    "several_pages",
    "unsupported_image",
    "unpaired_mask",
    "passed_over",
]
Severity = Literal["fault", "warning"]


class Rule(NamedTuple):
    """The meaning of a kind of finding."""

    severity: Severity
    """fault: training stops there, or its result is wrong. warning: it may be meant so."""
    title: str
    """The finding, as the heading of a group."""


RULES: dict[Kind, Rule] = {
    "split": Rule("fault", "entries of splits that lead to no image"),
    "shard": Rule("fault", "shards whose bytes are not those that were written"),
    "missing_mask": Rule("fault", "images without a mask"),
    "pairing": Rule("fault", "images and masks that cannot be told apart"),
    "unreadable_image": Rule("fault", "images that cannot be read whole"),
    "unreadable_mask": Rule("fault", "masks that cannot be read whole"),
    "size_mismatch": Rule("fault", "masks of another size than their image"),
    "colour_mask": Rule("fault", "masks whose colours mean nothing"),
    "annotation": Rule("fault", "annotations that cannot be read or drawn"),
    "palette": Rule("fault", "masks whose palettes say that their indices mean nothing"),
    "stated_palette": Rule("warning", "masks whose palettes disagree; mask_format says that their indices count"),
    "foreign_values": Rule("fault", "masks with values that are no class"),
    "unlisted_values": Rule("warning", "masks with values that label_mapping does not list; they are ignored"),
    "nothing_labelled": Rule("warning", "masks in which every pixel is ignored"),
    "absent_class": Rule("fault", "classes that never occur in train"),
    "shared_image": Rule("fault", "images that several splits share"),
    "repeated_image": Rule("warning", "images that one split holds more than once"),
    "similar_image": Rule("warning", "images of several splits that look the same"),
    "hidden_annotation": Rule("warning", "annotations that end invisible below others"),
    "empty_annotation": Rule("warning", "annotations without a pixel"),
    "unscaled_annotation": Rule("warning", "annotations whose coordinates lie between 0 and 1"),
    "box_annotation": Rule("warning", "annotations that are boxes"),
    "flat_annotation": Rule("warning", "annotations without an area"),
    "orphan_annotation": Rule("warning", "annotations of images that are not listed"),
    "unfound_image": Rule("warning", "listed images that no split finds"),
    "loose_name": Rule("warning", "listed images that are found by the last part of their name alone"),
    "several_pages": Rule("warning", "images of several pages"),
    "unsupported_image": Rule("warning", "pictures of unknown suffixes that have a mask"),
    "unpaired_mask": Rule("warning", "masks without a picture"),
    "passed_over": Rule("warning", "hidden files and folders, which are passed over"),
}
"""Every kind in the order of a report. `absent_class` is a warning in any split but train."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a data set."""

    kind: Kind
    """Which rule it breaks."""
    message: str
    """One line: the file, the rule, what was found, the fix."""
    splits: tuple[str, ...] = ()
    """The splits concerned."""
    files: tuple[str, ...] = ()
    """The files concerned."""
    values: dict[int, int] = field(default_factory=dict)
    """foreign_values, unlisted_values: raw value → pixels."""
    ids: tuple[str, ...] = ()
    """Annotations and images concerned, as their file calls them."""

    def __post_init__(self) -> None:
        # Names of files are what they are; what is told of them is text.
        object.__setattr__(self, "message", printable(self.message))
        object.__setattr__(self, "files", tuple(map(printable, self.files)))
        object.__setattr__(self, "ids", tuple(map(printable, self.ids)))

    @property
    def severity(self) -> Severity:
        """fault or warning."""
        if self.kind == "absent_class" and self.splits != ("train",):
            return "warning"
        return RULES[self.kind].severity
