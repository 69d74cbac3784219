"""Polygons and run lengths in one COCO file for each split, drawn as labels."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from effiseg.data.classes import Classes
from effiseg.data.coco_file import CocoAnnotations, CocoImage, CocoRegion, Id, load_annotations
from effiseg.data.coco_names import CocoName, agrees_in_its_last_part_alone, folded_name, match_names
from effiseg.data.formats.base import DataPlace, MaskedImage, MaskFormat, MaskKeys, parse_background, parse_border
from effiseg.data.image_file import ImageHeader
from effiseg.data.label_drawing import DRAWING_RULES, Region, draw_regions, region_oddities
from effiseg.data.mask_errors import AnnotationError
from effiseg.data.oddities import Oddity
from effiseg.data.polygons import PolygonBorder
from effiseg.data.reading import Labels
from effiseg.errors import DataError


@dataclass(frozen=True, kw_only=True)
class CocoMasks(MaskFormat):
    """Polygons and run lengths in one JSON file for each split."""

    name: ClassVar[str] = "coco"
    keys: ClassVar[tuple[str, ...]] = ("label_mapping", "annotations", "background", "polygon_border")

    annotations: dict[str, str]
    """Split → JSON file, relative to the data set's folder."""
    background: int
    """The label of pixels in no polygon, a class or ignore_index."""
    border: PolygonBorder = "centers"
    """Which pixels at their border belong to polygons."""

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
        return cls(
            annotations=files,
            background=parse_background(keys, cls.name),
            border=parse_border(keys),
            orientation=keys.orientation,
        )

    def read_stored(self, sample: MaskedImage, classes: Classes) -> Labels:
        """The labels of an image, of the size that the file states.

        A category is the class that label_mapping gives its number, or without label_mapping the class of its name.
        Larger regions are drawn before smaller ones; of equal ones the later lies on top, crowds as any other. Pixels
        of unlisted categories count overlaps again.

        Raises:
            AnnotationError: the file does not list the image, or an annotation of it cannot be drawn.
        """
        annotations = load_annotations(sample.mask, self._least_corners)
        record = _record(sample, annotations)
        unlisted: Counter[int] = Counter()
        regions: list[tuple[Region, int]] = []
        try:
            for annotation in annotations.regions.get(record.id, []):
                label = _label_of(annotation, annotations, classes)
                if label is None:
                    unlisted[annotation.category] += round(annotation.region.area(self.border))
                regions.append((annotation.region, classes.ignore_index if label is None else label))
            return Labels(draw_regions(regions, record.shape, self.background, self.border), dict(unlisted))
        except ValueError as error:
            name = record.name.path
            raise AnnotationError(f"{sample.mask}: an annotation of {name} cannot be drawn: {error}") from None

    def oddities(self, sample: MaskedImage, header: ImageHeader) -> list[Oddity]:
        """Annotations that end invisible, hold no pixel, or look like shares of the size."""
        annotations = load_annotations(sample.mask, self._least_corners)
        record = _record(sample, annotations)
        own = annotations.regions.get(record.id, [])
        return region_oddities(
            [one.region for one in own], [str(one.id) for one in own], record.shape, self.border, str(sample.mask)
        )

    def listing_oddities(self, images: Mapping[str, Sequence[str]], place: DataPlace) -> list[Oddity]:
        """Annotations without an image, names that are found by their last part, and images that no split finds."""
        found: list[Oddity] = []
        everything = sorted({image for paths in images.values() for image in paths})
        for written in dict.fromkeys(self.annotations.values()):
            file = str(place.root / written)
            annotations = load_annotations(file, self._least_corners)
            if annotations.orphans:
                found.append(Oddity("orphan_annotation", file, tuple(annotations.orphans)))
            records = list(annotations.images.values())
            names = [record.name for record in records]
            listed: set[int] = set()
            for split, paths in images.items():
                listed.update(match_names(names, paths, place.root, file, split).values())
            own = [image for split, paths in images.items() if self.annotations[split] == written for image in paths]
            loose = [
                f"{names[index].path} ({image})"
                for image, index in match_names(names, own, place.root, file, self._splits_of(written)).items()
                if agrees_in_its_last_part_alone(names[index], image, place.root)
            ]
            if loose:
                found.append(Oddity("loose_name", file, tuple(loose)))
            missing = [name for index, name in enumerate(names) if index not in listed]
            if missing:
                found.append(Oddity("unfound_image", file, tuple(_with_near(missing, everything))))
        return found

    def content_key(self, classes: Classes) -> dict[str, Any]:
        """The name of a category means a class."""
        return {"names": classes.names, "background": self.background, "drawing": [DRAWING_RULES, self.border]}

    @property
    def _least_corners(self) -> int:
        """Lines of one pixel's width are traced with one or two."""
        return 3 if self.border == "centers" else 1

    def shared_file(self, split: str) -> str:
        """See `MaskFormat`."""
        return self.annotations[split]

    def _splits_of(self, written: str) -> str:
        """The splits that share a file, for errors."""
        return " and ".join(split for split, own in self.annotations.items() if own == written)

    def listed_images(
        self, file: str, images: Sequence[str], split: str, place: DataPlace, beside: Sequence[str] = ()
    ) -> dict[str, Id]:
        """See `MaskFormat` and `match_names`; others are passed over."""
        records = list(load_annotations(file, self._least_corners).images.values())
        everything = dict.fromkeys([*images, *beside])
        splits = self._splits_of(self.annotations[split])
        found = match_names([record.name for record in records], everything, place.root, file, splits)
        if not any(image in found for image in images):
            as_example = f", as {images[0]}" if images else ""
            raise AnnotationError(
                f"{file}: must list the images of {split}; found none of {len(images)}{as_example} "
                f"(correct annotations or {split} in {place.source})"
            )
        return {image: records[found[image]].id for image in images if image in found}


def _with_near(names: Sequence[CocoName], images: Sequence[str]) -> list[str]:
    """Names, each with an image that is written almost so."""
    by_folded = {folded_name(os.path.basename(image)): image for image in images}  # noqa: PTH119 - 100 000 of them
    near = [by_folded.get(folded_name(name.last)) for name in names]
    return [
        name.path if image is None else f"{name.path} (near: {image})" for name, image in zip(names, near, strict=True)
    ]


def _record(sample: MaskedImage, annotations: CocoAnnotations) -> CocoImage:
    record = None if sample.entry is None else annotations.images.get(sample.entry)
    if record is None:
        file, image = sample.mask, sample.image
        raise AnnotationError(f"{file}: must list {image}; add it, or remove the image from the split")
    return record


def _label_of(annotation: CocoRegion, annotations: CocoAnnotations, classes: Classes) -> int | None:
    """None: label_mapping does not list the category."""
    if classes.label_mapping is not None:
        return classes.label_mapping.get(annotation.category)
    name = annotations.categories.get(annotation.category)
    if name in classes.names:
        return classes.names.index(name)
    raise AnnotationError(
        f"{annotations.source}: the category {annotation.category} ({name}) of annotation {annotation.id} is none of "
        f"names; add it there, or give the data set a label_mapping of category ids, for example "
        f"{annotation.category}: ignore_label"
    )
