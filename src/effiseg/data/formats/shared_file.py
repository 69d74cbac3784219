"""Base of the formats that hold the annotations of a whole split in one file."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from effiseg.data.folder_contents import FolderContents, Recognized
from effiseg.data.formats.base import DataPlace, MaskKeys
from effiseg.data.formats.drawn import DrawnMasks
from effiseg.data.listed_names import ListedName, agrees_in_its_last_part_alone, folded_name, match_names
from effiseg.data.mask_errors import AnnotationError
from effiseg.data.oddities import Oddity
from effiseg.errors import DataError

Id = int | str
"""What a file of annotations calls an image."""


class ListedImage(NamedTuple):
    """An image that a file of annotations lists."""

    id: Id
    """Its number or name there."""
    name: ListedName
    """Its name, with folders perhaps."""


@dataclass(frozen=True, kw_only=True)
class SharedFileMasks(DrawnMasks):
    """Annotations in one file for each split."""

    annotations: Mapping[str, str]
    """Split → file, relative to the data set's folder."""

    title: ClassVar[str]
    """What such a file is called."""
    file_suffix: ClassVar[str] = ".json"
    """How its name ends."""

    @classmethod
    @abstractmethod
    def is_such(cls, head: str) -> bool:
        """Whether a file that begins so is of the format."""

    @classmethod
    @abstractmethod
    def names_in(cls, head: str) -> list[str]:
        """Labels that stand in the beginning of a file."""

    @classmethod
    def recognize(cls, contents: FolderContents) -> Recognized | None:
        """By the beginnings of its files."""
        heads = {file: contents.head(file) for file in contents.named(cls.file_suffix)}
        files = [file for file, head in heads.items() if cls.is_such(head)]
        if not files:
            return None
        splits = contents.of_splits(files)
        keys = {"mask_format": cls.name, "annotations": splits, **dict.fromkeys(splits, contents.image_folder)}
        names = [name for file in files for name in cls.names_in(heads[file])]
        return Recognized(cls.title, contents.described(names, **keys))

    @classmethod
    def drawn_keys(cls, keys: MaskKeys) -> dict[str, Any]:
        """The same, and a file for every split."""
        return {"annotations": cls._parse_annotations(keys), **super().drawn_keys(keys)}

    @classmethod
    def _parse_annotations(cls, keys: MaskKeys) -> dict[str, str]:
        source, splits, value = keys.source, keys.splits, keys.values.get("annotations")
        if isinstance(value, str) and value:
            value = dict.fromkeys(splits, value)
        if not isinstance(value, dict) or not all(isinstance(file, str) and file for file in value.values()):
            example = ", ".join(f"{split}: annotations/{split}.json" for split in splits)
            found = "none" if value is None else repr(value)
            raise DataError(f"{source}: mask_format {cls.name} needs annotations, as {{{example}}}; found {found}")
        if set(value) != set(splits):
            found = ", ".join(map(str, value))
            raise DataError(f"{source}: annotations must name a file for each of {', '.join(splits)}; found {found}")
        return {str(split): str(file) for split, file in value.items()}

    @abstractmethod
    def list_file(self, file: str) -> Sequence[ListedImage]:
        """All images that a file lists.

        Raises:
            AnnotationError: it cannot be read, or is not of the format.
        """

    def orphans(self, file: str) -> Sequence[str]:
        """Ids of the annotations in a file whose image is not listed; errors as `list_file`."""
        return ()

    def listing_oddities(self, images: Mapping[str, Sequence[str]], place: DataPlace) -> list[Oddity]:
        """Annotations without an image, names that are found by their last part, and images that no split finds."""
        found: list[Oddity] = []
        everything = sorted({image for paths in images.values() for image in paths})
        for written in dict.fromkeys(self.annotations.values()):
            file = str(place.root / written)
            names = [listed.name for listed in self.list_file(file)]
            if orphans := self.orphans(file):
                found.append(Oddity("orphan_annotation", file, tuple(orphans)))
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

    def shared_file(self, split: str) -> str:
        """See `MaskFormat`."""
        return self.annotations[split]

    def listed_images(
        self, file: str, images: Sequence[str], split: str, place: DataPlace, beside: Sequence[str] = ()
    ) -> dict[str, Id]:
        """See `MaskFormat` and `match_names`; others are passed over."""
        listed = self.list_file(file)
        everything = dict.fromkeys([*images, *beside])
        splits = self._splits_of(self.annotations[split])
        found = match_names([image.name for image in listed], everything, place.root, file, splits)
        if not any(image in found for image in images):
            as_example = f", as {images[0]}" if images else ""
            raise AnnotationError(
                f"{file}: must list the images of {split}; found none of {len(images)}{as_example} "
                f"(correct annotations or {split} in {place.source})"
            )
        return {image: listed[found[image]].id for image in images if image in found}

    def _splits_of(self, written: str) -> str:
        """The splits that share a file, for errors."""
        return " and ".join(split for split, own in self.annotations.items() if own == written)


def _with_near(names: Sequence[ListedName], images: Sequence[str]) -> list[str]:
    """Names, each with an image that is written almost so."""
    by_folded = {folded_name(os.path.basename(image)): image for image in images}  # noqa: PTH119 - 100 000 of them
    near = [by_folded.get(folded_name(name.last)) for name in names]
    return [
        name.path if image is None else f"{name.path} (near: {image})" for name, image in zip(names, near, strict=True)
    ]
