"""The key `drawn` of a data set's YAML file: pictures that are drawn while they are read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from effiseg.config.data import parse_image_size
from effiseg.data.transforms import UInt8Array
from effiseg.data.yaml_values import is_integer
from effiseg.errors import DataError, UsageError
from effiseg.scenes.pictures import (
    FAMILIES,
    NO_CLASS,
    SEED_SPACES,
    SPLITS,
    VERSION,
    Family,
    SeedSpace,
    draw_picture,
    seed_sequence,
)

_DEFAULTS: dict[str, Any] = {"size": "128x256", "train": 2000, "val": 200, "test": 200, "reuse": 1, "space": "data"}
_MOST_PICTURES = 10_000_000


@dataclass(frozen=True)
class DrawnSource:
    """The key `drawn` of a data set's YAML file: what is drawn, how large, how much.

    A training picture is a function of (seed of the run, epoch, place) alone: with `reuse` r, the places p of an epoch
    of n pictures show n/r different ones, number (p mod n/r) of the epoch, each r times under augmentations of its
    own. Val and test are the same pictures always.
    """

    pictures: tuple[tuple[Family, int], ...]
    """Families, each with its part of the mixture: number k of a split is of the first family where k modulo the sum
    of all parts is below its part, and so on."""
    size: tuple[int, int]
    """(height, width) in pixels."""
    counts: tuple[tuple[str, int], ...]
    """Split → pictures; for train, those of one epoch."""
    reuse: int = 1
    """How many places of an epoch show the same picture."""
    space: SeedSpace = "data"
    """Who draws."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all classes, in the order of the families."""
        return tuple(name for family, _ in self.pictures for name in FAMILIES[family])

    @property
    def identity(self) -> str:
        """The facts that all of its pictures depend on, in words."""
        return f"version {VERSION} of {self}"

    def of_epoch_size(self, images: int) -> DrawnSource:
        """The same with another number of training pictures an epoch."""
        return replace(self, counts=tuple((s, images if s == "train" else n) for s, n in self.counts))

    def different(self, split: str) -> int:
        """How many different pictures an epoch (or the split) has."""
        count = dict(self.counts)[split]
        return max(1, count // self.reuse) if split == "train" else count

    def draw(self, seed: int, split: str, number: int) -> tuple[UInt8Array, UInt8Array]:
        """Image (H, W, 3) uint8 RGB and label (H, W) uint8: index into `names`, or 255."""
        place = number % sum(part for _, part in self.pictures)
        first_class = 0
        for family, part in self.pictures:
            if place < part:
                image, label = draw_picture(family, seed_sequence(self.space, seed, split, number), *self.size)
                if first_class:
                    label[label != NO_CLASS] += first_class
                return image, label
            place -= part
            first_class += len(FAMILIES[family])
        raise AssertionError(number)


def parse_drawn_source(source: Path, value: object) -> DrawnSource:
    """The value of `drawn` in a YAML file.

    Args:
        source: the file, for errors.
        value: a family, or {pictures: a family or {family: part}, size: HxW, train: …, val: …, test: …, reuse: …}.

    Raises:
        DataError: it breaks a rule.
    """
    written = value if isinstance(value, dict) and not set(value) <= set(FAMILIES) else {"pictures": value}
    if unknown := sorted(set(map(str, written)) - {"pictures", *_DEFAULTS}):
        raise DataError(f"{source}: drawn has the keys pictures, {', '.join(_DEFAULTS)}; found {unknown[0]!r}")
    values = {**_DEFAULTS, **written}
    pictures = values.get("pictures")
    parts = {pictures: 1} if isinstance(pictures, str) else pictures
    if (
        not isinstance(parts, dict)
        or not parts
        or not all(family in FAMILIES and is_integer(part) and 0 < part <= 1000 for family, part in parts.items())
    ):
        raise DataError(
            f"{source}: drawn must name {' or '.join(FAMILIES)}, or their parts, as {{scenes: 3, shapes: 1}}; "
            f"found {pictures!r}"
        )
    for key in (*SPLITS, "reuse"):
        if not is_integer(values[key]) or not 1 <= values[key] <= _MOST_PICTURES:
            raise DataError(f"{source}: {key} of drawn is a number from 1 to {_MOST_PICTURES}; found {values[key]!r}")
    if values["space"] not in get_args(SeedSpace):
        raise DataError(f"{source}: space of drawn is one of {', '.join(SEED_SPACES)}; found {values['space']!r}")
    try:
        size = parse_image_size(values["size"])
    except UsageError as error:
        raise DataError(f"{source}: size of drawn: {error}") from None
    counts = tuple((split, int(values[split])) for split in SPLITS)
    return DrawnSource(tuple(parts.items()), size, counts, int(values["reuse"]), values["space"])
