"""Polygons and run lengths in one COCO file for each split, drawn as labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from effiseg.data.classes import Classes
from effiseg.data.coco_file import CocoAnnotations, CocoRegion, load_annotations
from effiseg.data.formats.base import MaskFormat, MaskKeys, parse_background
from effiseg.data.label_drawing import DRAWING_RULES, Region, draw_regions
from effiseg.data.reading import Labels
from effiseg.errors import DataError


@dataclass(frozen=True, kw_only=True)
class CocoMasks(MaskFormat):
    """Polygons and run lengths in one JSON file for each split."""

    name: ClassVar[str] = "coco"
    keys: ClassVar[tuple[str, ...]] = ("label_mapping", "annotations", "background")

    annotations: dict[str, str]
    """Split → JSON file, relative to the data set's folder."""
    background: int
    """The label of pixels in no polygon, a class or ignore_index."""

    @classmethod
    def parse(cls, keys: MaskKeys) -> CocoMasks:
        """Every split has its file."""
        source, splits, value = keys.source, keys.splits, keys.values.get("annotations")
        if not isinstance(value, dict) or not all(isinstance(file, str) and file for file in value.values()):
            example = ", ".join(f"{split}: annotations/{split}.json" for split in splits)
            found = "none" if value is None else repr(value)
            raise DataError(f"{source}: mask_format coco needs annotations, as {{{example}}}; found {found}")
        if set(value) != set(splits):
            found = ", ".join(map(str, value))
            raise DataError(f"{source}: annotations must name a file for each of {', '.join(splits)}; found {found}")
        files = {str(split): str(file) for split, file in value.items()}
        return cls(annotations=files, background=parse_background(keys, cls.name), orientation=keys.orientation)

    def read_stored(self, image: Path, mask: Path, classes: Classes) -> Labels:
        """The labels of an image, of the size that the file states.

        A category is the class that label_mapping gives its number, or without label_mapping the class of its name.
        Crowds are drawn first, then larger regions before smaller ones; of equal ones the later lies on top. Pixels
        of unlisted categories count overlaps again.

        Raises:
            DataError: the file does not list the image, or an annotation of it cannot be drawn.
        """
        annotations = load_annotations(mask)
        record = annotations.find(image)
        if record is None:
            raise DataError(f"{mask}: must list {image}; add it, or remove the image from the split")
        unlisted: Counter[int] = Counter()
        regions: list[tuple[Region, int]] = []
        try:
            for annotation in annotations.regions.get(record.id, []):
                label = _label_of(annotation, annotations, classes)
                if label is None:
                    unlisted[annotation.category] += round(annotation.region.area())
                regions.append((annotation.region, classes.ignore_index if label is None else label))
            return Labels(draw_regions(regions, record.shape, self.background), dict(unlisted))
        except ValueError as error:
            raise DataError(f"{mask}: an annotation of {record.file_name} cannot be drawn: {error}") from None

    def content_key(self, classes: Classes) -> dict[str, Any]:
        """The name of a category means a class."""
        return {"names": classes.names, "background": self.background, "drawing": DRAWING_RULES}

    def shared_file(self, split: str) -> str:
        """See `MaskFormat`."""
        return self.annotations[split]

    def listed_images(self, file: str, images: Sequence[str], split: str, source: Path) -> list[str]:
        """See `MaskFormat`; others are passed over."""
        annotations = load_annotations(file)
        found: dict[int, str] = {}
        for image in images:
            record = annotations.find(image)
            if record is None:
                continue
            other = found.setdefault(record.id, image)
            if other != image:
                raise DataError(
                    f"{file}: image {record.file_name!r} must mean one file of {split}; found {other} and {image}; "
                    "write the folder into file_name, or remove one"
                )
        if not found:
            raise DataError(
                f"{file}: must list the images of {split}; found none of {len(images)}, as {images[0]} "
                f"(correct annotations or {split} in {source})"
            )
        return list(found.values())


def _label_of(annotation: CocoRegion, annotations: CocoAnnotations, classes: Classes) -> int | None:
    """None: label_mapping does not list the category."""
    if classes.label_mapping is not None:
        return classes.label_mapping.get(annotation.category)
    name = annotations.categories.get(annotation.category)
    if name in classes.names:
        return classes.names.index(name)
    raise DataError(
        f"{annotations.source}: the category {annotation.category} ({name}) of annotation {annotation.id} is none of "
        f"names; add it there, or give the data set a label_mapping of category ids, for example "
        f"{annotation.category}: ignore_label"
    )
