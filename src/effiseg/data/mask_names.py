"""The mask of an image, found by its name.

Paths are strings and folders are listed once here, so that 100 000 pairs take seconds.
"""
# ruff: noqa: PTH112, PTH118, PTH119, PTH120, PTH122, PTH208

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.faults import ListingNotes
from effiseg.data.names import is_hidden
from effiseg.data.recognition import recognize
from effiseg.errors import DataError


class MaskNames:
    """Finds masks by listing every mask folder once: one system call a folder, not several an image."""

    def __init__(self, spec: DatasetSpec, notes: ListingNotes) -> None:
        self.spec = spec
        self.notes = notes
        self.folder_of = cache(self._folder_of)
        self.names_in = cache(self._names_in)

    def find(self, image: str, stem: str) -> str:
        """Path of the mask that belongs to `image`."""
        image_folder = os.path.dirname(image)
        folder = self.folder_of(image_folder)
        if image_folder in self.notes.walked:
            self.notes.mask_folders[folder] = image_folder
        names = self.names_in(folder)
        candidates = self.spec.masks.mask_names(os.path.basename(image), stem, self.spec.mask_suffix or "")
        for candidate in candidates:
            if candidate in names:
                return os.path.join(folder, candidate)
            upper = os.path.splitext(candidate)[0] + os.path.splitext(candidate)[1].upper()
            if upper in names:
                return os.path.join(folder, upper)
        expected = os.path.join(folder, candidates[0])
        raise DataError(f"{image}: every image needs a mask; expected {expected}; {self._hint(folder, stem)}")

    def stem_of(self, name: str) -> str | None:
        """The stem that leads to a mask of this name; None where none does."""
        suffix = self.spec.mask_suffix or ""
        if "." in suffix:
            stem, ending = name, suffix
        else:
            stem, extension = os.path.splitext(name)
            if extension.lower() not in self.spec.masks.extensions or is_hidden(name):
                return None
            ending = suffix
        return stem.removesuffix(ending) if stem.endswith(ending) and stem != ending else None

    def _hint(self, folder: str, stem: str) -> str:
        names = self.names_in(folder)
        if self.spec.masks.holds_indices and (known := recognize(self.spec.root)) is not None:
            return known
        if not names:
            return f"folder {folder} is missing or empty (masks_dir is {' or '.join(self.spec.masks_dir)!r})"
        if self.spec.masks.where_missing is not None:
            return self.spec.masks.where_missing
        if f"{stem}.txt" in names:
            return f"found {stem}.txt: if it holds polygons, set mask_format: yolo"
        if any(f"{stem}{extension}" in names for extension in (".jpg", ".jpeg")):
            return "found a JPEG, which does not keep class indices: save masks as PNG"
        close = sorted(name for name in names if name.startswith(stem))
        if close:
            return f"found {close[0]}: set mask_suffix"
        return f"the folder holds {len(names)} other files, as {min(names)}: add the mask or remove the image"

    def _folder_of(self, image_folder: str) -> str:
        if not self.spec.masks_dir:
            return image_folder
        parts = Path(image_folder).parts
        for images_dir in self.spec.images_dir:
            replaced = Path(images_dir).parts
            # The last occurrence: a parent folder of the data set may be called "images" as well.
            for place in range(len(parts) - len(replaced), -1, -1):
                if parts[place : place + len(replaced)] == replaced:
                    before, after = parts[:place], parts[place + len(replaced) :]
                    names = [masks_dir.replace("*", images_dir) for masks_dir in self.spec.masks_dir]
                    folders = [str(Path(*before, name, *after)) for name in names]
                    return next((folder for folder in folders if os.path.isdir(folder)), folders[0])
        raise DataError(
            f"{image_folder}: masks lie where the path part {' or '.join(self.spec.images_dir)!r} is replaced by "
            f"{' or '.join(self.spec.masks_dir)!r}; found no such part: rename the folder or set "
            f"images_dir in {self.spec.source}"
        )

    @staticmethod
    def _names_in(folder: str) -> frozenset[str]:
        try:
            return frozenset(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()
