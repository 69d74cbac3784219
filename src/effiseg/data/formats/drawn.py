"""Base of the formats whose labels are drawn, and of those whose shapes carry the name of a class."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import yaml

from effiseg.data.classes import IGNORE_LABEL, Classes
from effiseg.data.formats.base import MaskedImage, MaskFormat, MaskKeys, parse_background, parse_border
from effiseg.data.image_file import ImageHeader
from effiseg.data.label_drawing import DRAWING_RULES, Region, draw_regions, region_oddities
from effiseg.data.mask_errors import AnnotationError
from effiseg.data.oddities import Oddity
from effiseg.data.orientation import fit_labels, turn_labels
from effiseg.data.polygons import PolygonBorder
from effiseg.data.reading import Labels
from effiseg.data.transforms import UInt8Array
from effiseg.errors import DataError


@dataclass(frozen=True, kw_only=True)
class DrawnMasks(MaskFormat):
    """Labels that are drawn from shapes."""

    own_border: ClassVar[PolygonBorder] = "centers"
    """What the tool means by corners, where polygon_border says nothing else."""

    background: int
    """The label of pixels in no shape, a class or ignore_index."""
    border: PolygonBorder = "centers"
    """Which pixels at their border belong to polygons."""

    @classmethod
    def drawn_keys(cls, keys: MaskKeys) -> dict[str, Any]:
        """Values of the fields that every such format has.

        Raises:
            DataError: a key breaks a rule.
        """
        return {
            "background": parse_background(keys, cls.name),
            "border": parse_border(keys) if keys.values.get("polygon_border") is not None else cls.own_border,
            "orientation": keys.orientation,
        }

    def drawing_key(self) -> dict[str, Any]:
        """Part of `content_key` that says how shapes are drawn."""
        return {"background": self.background, "drawing": [DRAWING_RULES, self.border]}


class NamedShape(NamedTuple):
    """A shape that carries the name of its class."""

    label: str
    """The name."""
    region: Region
    """Its pixels."""
    id: str
    """What to call it: "polygon 3"."""
    is_box: bool = False
    """Whether it is a rectangle along the axes, which is often drawn around an object."""


class Drawing(NamedTuple):
    """All that a file says of one image."""

    shape: tuple[int, int] | None
    """(height, width) that it says the image has; None: it does not say."""
    shapes: list[NamedShape]
    """In the order in which they are painted."""
    without_area: list[str]
    """Ids of points, lines and the like, which hold no pixel."""


def unnamed_label(found: str, label: str) -> AnnotationError:
    """The error of a name in annotations that means no class; it ends with what to write, as YAML.

    Args:
        found: the file and what was found there.
        label: the name.
    """
    listed = yaml.safe_dump([label], default_flow_style=True, allow_unicode=True, width=sys.maxsize)
    key = listed.strip().removeprefix("[").removesuffix("]")
    return AnnotationError(f"{found} is none of names; add it there, or write labels: {{{key}: {IGNORE_LABEL}}}")


def parse_labels(keys: MaskKeys) -> dict[str, int]:
    """What the names in annotations mean: the names of classes, and those of the key `labels`.

    Returns:
        Name → class or ignore_index.

    Raises:
        DataError: the key is no mapping to classes.
    """
    known = {name: index for index, name in enumerate(keys.names)}
    places = {**known, IGNORE_LABEL: keys.ignore_index}
    written = keys.values.get("labels")
    if written is None:
        return known
    if not isinstance(written, dict):
        raise DataError(f"{keys.source}: labels must be {{name of a label: class, …}}; found {written!r}")
    for name, target in written.items():
        if str(target) not in places:
            raise DataError(
                f"{keys.source}: labels must lead to one of names or to {IGNORE_LABEL}; found {name}: {target}"
            )
    return {**known, **{str(name): places[str(target)] for name, target in written.items()}}


def in_z_order(shapes: Sequence[tuple[int, NamedShape]]) -> list[NamedShape]:
    """Shapes, each with its z_order, in the order in which they are painted: of equal ones the later on top."""
    return [shape for _, shape in sorted(shapes, key=itemgetter(0))]


@dataclass(frozen=True, kw_only=True)
class NamedShapeMasks(DrawnMasks):
    """Shapes that carry the names of their classes, painted in the order that their tool shows them in."""

    keys: ClassVar[tuple[str, ...]] = ("labels", "background", "polygon_border")
    instead: ClassVar[str] = "labels says what the names of shapes mean"
    own_labels: ClassVar[Mapping[str, Literal["background", "ignore_label"]]] = {}
    """Names that the tool itself gives a meaning."""

    labels: Mapping[str, int] = field(default_factory=dict)
    """Name of a shape's class → class or ignore_index."""

    @classmethod
    def parse(cls, keys: MaskKeys) -> NamedShapeMasks:
        """See `drawn_keys` and `parse_labels`."""
        drawn = cls.drawn_keys(keys)
        meanings = {"background": drawn["background"], "ignore_label": keys.ignore_index}
        own = {name: meanings[meaning] for name, meaning in cls.own_labels.items()}
        return cls(labels={**own, **parse_labels(keys)}, **drawn)

    @abstractmethod
    def drawing(self, sample: MaskedImage) -> Drawing:
        """All that is drawn for an image.

        Raises:
            DataError: the file cannot be read or breaks a rule.
        """

    def read_stored(self, sample: MaskedImage, classes: Classes) -> Labels | None:
        """The labels of an image, of the size that the file states; None where it states none.

        Raises:
            AnnotationError: a shape has a name that means nothing, or cannot be drawn.
        """
        found = self.drawing(sample)
        return None if found.shape is None else Labels(self._draw(found, found.shape, sample), {})

    def read(self, sample: MaskedImage, header: ImageHeader, classes: Classes) -> Labels:
        """See `MaskFormat`; without a size of the file the shapes fit the image as tools show it, upright."""
        found = self.drawing(sample)
        if found.shape is None:
            labels = self._draw(found, self._shape(found, header), sample)
            return Labels(turn_labels(labels, header) if self.orientation == "stored" else labels, {})
        labels = self._draw(found, found.shape, sample)
        return Labels(fit_labels(labels, header, self.orientation, sample.image, sample.mask, classes.source), {})

    def oddities(self, sample: MaskedImage, header: ImageHeader) -> list[Oddity]:
        """Shapes that end invisible or hold no pixel, boxes, and what has no area."""
        found = self.drawing(sample)
        file = str(sample.mask) if sample.entry is not None else str(Path(sample.mask).parent)
        of_image = Path(sample.image if sample.entry is not None else sample.mask).name
        ids = [f"{of_image} {one.id}" for one in found.shapes]
        regions, shape = [one.region for one in found.shapes], self._shape(found, header)
        oddities = region_oddities(regions, ids, shape, self.border, file, in_order=True)
        boxes = tuple(name for name, one in zip(ids, found.shapes, strict=True) if one.is_box)
        lines = tuple(f"{of_image} {name}" for name in found.without_area)
        oddities += [Oddity("box_annotation", file, boxes)] if boxes else []
        return oddities + ([Oddity("flat_annotation", file, lines)] if lines else [])

    def content_key(self, classes: Classes) -> dict[str, Any]:
        """Names of shapes mean classes."""
        return {"labels": sorted(self.labels.items()), **self.drawing_key()}

    def _shape(self, found: Drawing, header: ImageHeader) -> tuple[int, int]:
        return found.shape or (header.stored_shape if self.orientation == "stored" else header.shape)

    def _draw(self, found: Drawing, shape: tuple[int, int], sample: MaskedImage) -> UInt8Array:
        for one in found.shapes:
            if one.label not in self.labels:
                found_label = f"the label {one.label!r} of {one.id} of {Path(sample.image).name}"
                raise unnamed_label(f"{sample.mask}: {found_label}", one.label)
        regions = [(one.region, self.labels[one.label]) for one in found.shapes]
        try:
            return draw_regions(regions, shape, self.background, self.border, in_order=True)
        except ValueError as error:
            name = Path(sample.image).name
            raise AnnotationError(f"{sample.mask}: an annotation of {name} cannot be drawn: {error}") from None
