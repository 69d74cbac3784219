"""Polygons and run lengths in one COCO file for each split, drawn as labels."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from effiseg.data.classes import Classes
from effiseg.data.coco_file import CocoAnnotations, CocoImage, CocoRegion, load_annotations
from effiseg.data.formats.base import MaskedImage, MaskKeys
from effiseg.data.formats.shared_file import ListedImage, SharedFileMasks
from effiseg.data.image_file import ImageHeader
from effiseg.data.label_drawing import Region, draw_regions, region_oddities
from effiseg.data.mask_errors import AnnotationError
from effiseg.data.oddities import Oddity
from effiseg.data.reading import Labels


@dataclass(frozen=True, kw_only=True)
class CocoMasks(SharedFileMasks):
    """Polygons and run lengths in one JSON file for each split."""

    name: ClassVar[str] = "coco"
    title: ClassVar[str] = "COCO"
    keys: ClassVar[tuple[str, ...]] = ("label_mapping", "annotations", "background", "polygon_border")

    @classmethod
    def parse(cls, keys: MaskKeys) -> CocoMasks:
        """Every split has its file."""
        return cls(**cls.drawn_keys(keys))

    @classmethod
    def is_such(cls, head: str) -> bool:
        """See `SharedFileMasks`."""
        return '"images"' in head and '"file_name"' in head

    @classmethod
    def names_in(cls, head: str) -> list[str]:
        """See `SharedFileMasks`."""
        listed = re.findall(r'"categories"\s*:\s*\[([^\]]*)\]', head)
        return [name for text in listed for name in re.findall(r'"name"\s*:\s*"([^"]+)"', text)]

    def read_stored(self, sample: MaskedImage, classes: Classes) -> Labels:
        """The labels of an image, of the size that the file states.

        A category is the class that label_mapping gives its number, or without label_mapping the class of its name.
        Larger regions are drawn before smaller ones; of equal ones the later lies on top, crowds as any other. Pixels
        of unlisted categories count overlaps again.

        Raises:
            AnnotationError: the file does not list the image, or an annotation of it cannot be drawn.
        """
        annotations = load_annotations(Path(sample.mask), self._least_corners)
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
        annotations = load_annotations(Path(sample.mask), self._least_corners)
        record = _record(sample, annotations)
        own = annotations.regions.get(record.id, [])
        return region_oddities(
            [one.region for one in own], [str(one.id) for one in own], record.shape, self.border, str(sample.mask)
        )

    def list_file(self, file: str) -> list[ListedImage]:
        """See `SharedFileMasks`."""
        records = load_annotations(file, self._least_corners).images.values()
        return [ListedImage(record.id, record.name) for record in records]

    def orphans(self, file: str) -> list[str]:
        """See `SharedFileMasks`."""
        return load_annotations(file, self._least_corners).orphans

    def content_key(self, classes: Classes) -> dict[str, Any]:
        """The name of a category means a class."""
        return {"names": classes.names, **self.drawing_key()}

    @property
    def _least_corners(self) -> int:
        """Lines of one pixel's width are traced with one or two."""
        return 3 if self.border == "centers" else 1


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
