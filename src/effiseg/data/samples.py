"""Listing a split: which images it has, where their masks lie, and what the samples are called.

Paths are strings and folders are listed once here, so that 100 000 pairs take two seconds.
"""
# ruff: noqa: PTH113, PTH118, PTH119, PTH120, PTH122, PTH207, PTH208

from __future__ import annotations

import glob
import os
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from effiseg.data.dataset_spec import DatasetSpec
from effiseg.errors import DataError, UsageError
from effiseg.files import read_text

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
MASK_EXTENSIONS = (".png", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Sample:
    """One image with its mask."""

    id: str
    """The image's name without its suffix; unique within the split."""
    image: Path
    """The image file."""
    mask: Path
    """The mask file; it exists."""


def list_samples(spec: DatasetSpec, split: str) -> list[Sample]:
    """The samples of a split, sorted by image path; an image named twice counts once.

    The id is the image's name without `image_suffix` (or its extension). Names that occur in several folders
    are told apart by those folders: "a/0001.jpg" and "b/0001.jpg" become "a__0001" and "b__0001".

    Raises:
        DataError: the data set has no such split, an entry leads to no image, an image has no mask, or two
            images share a mask; the message names the file.
    """
    if split not in spec.splits:
        raise DataError(f"{spec.source}: no split {split!r}; found {', '.join(spec.splits)}")
    images = sorted({image for entry in spec.splits[split] for image in _images_of(spec, split, entry)})
    mask_names = _MaskNames(spec)
    pairs: list[tuple[str, str, str]] = []
    for image in images:
        stem = _strip_suffix(os.path.basename(image), spec.image_suffix)
        assert stem is not None
        pairs.append((stem, image, mask_names.find(image, stem)))
    owner: dict[str, str] = {}
    for _, image, mask in pairs:
        other = owner.setdefault(mask, image)
        if other != image:
            raise DataError(f"{mask}: a mask belongs to one image; found {other} and {image}; remove one")
    ids = _unique_ids([(stem, image) for stem, image, _ in pairs])
    return [Sample(name, Path(image), Path(mask)) for name, (_, image, mask) in zip(ids, pairs, strict=True)]


def _images_of(spec: DatasetSpec, split: str, entry: str) -> list[str]:
    """Absolute or root-relative paths of the images that one entry of a split names."""
    target = spec.root / Path(entry).expanduser()
    if target.is_dir():
        found = _walk(str(target))
    elif target.suffix.lower() == ".txt":
        found = _read_list(spec, split, target)
    else:
        found = glob.glob(str(target), recursive=True)
        found = [os.path.normpath(path) for path in found if _is_image(path)]
        if not found:
            raise DataError(
                f"{spec.source}: {split} must lead to images; found neither a folder nor a match for "
                f"{target} (correct {split}, path or --data_root)"
            )
    images = [path for path in found if _strip_suffix(os.path.basename(path), spec.image_suffix) is not None]
    if not images:
        wanted = f"names ending in {spec.image_suffix}" if spec.image_suffix else "files " + ", ".join(IMAGE_EXTENSIONS)
        raise DataError(f"{target}: {split} must hold images ({wanted}); found none among {len(found)} image files")
    return images


def _walk(folder: str) -> list[str]:
    """Every image below `folder`, links to folders included, hidden files left out."""
    images: list[str] = []
    visited: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:  # a link that leads back up
            folders.clear()
            continue
        visited.add(real)
        images += [os.path.join(parent, name) for name in files if _is_image(name)]
    return images


def _read_list(spec: DatasetSpec, split: str, list_file: Path) -> list[str]:
    """Images named by a .txt file, one a line, relative to the list's folder or to the data set's."""
    try:
        lines = read_text(list_file).splitlines()
    except UsageError as error:
        raise DataError(f"{spec.source}: {split}: {error}") from None
    images = []
    for number, line in enumerate(lines, start=1):
        written = line.strip()
        if not written or written.startswith("#"):
            continue
        for folder in (list_file.parent, spec.root):
            path = os.path.normpath(folder / written)
            if os.path.isfile(path):
                images.append(path)
                break
        else:
            raise DataError(
                f"{list_file}: line {number} must name an image, relative to {list_file.parent} or "
                f"{spec.root}; found {written!r}, which does not exist"
            )
        if _strip_suffix(os.path.basename(path), spec.image_suffix) is None:
            raise DataError(f"{list_file}: line {number} must end in {spec.image_suffix}; found {written!r}")
    return images


def _is_image(path: str) -> bool:
    name = os.path.basename(path)
    return name.lower().endswith(IMAGE_EXTENSIONS) and not name.startswith(".")


def _strip_suffix(name: str, suffix: str | None) -> str | None:
    """The sample's id in a file name; None where the name does not end in the suffix."""
    stem = os.path.splitext(name)[0]
    if suffix is None:
        return stem
    whole = name if "." in suffix else stem
    return whole.removesuffix(suffix) if whole.endswith(suffix) and whole != suffix else None


class _MaskNames:
    """Finds masks by listing every mask folder once: one system call a folder, not several an image."""

    def __init__(self, spec: DatasetSpec) -> None:
        self.spec = spec
        self.folder_of = cache(self._folder_of)
        self.names_in = cache(self._names_in)

    def find(self, image: str, stem: str) -> str:
        """Path of the mask that belongs to `image`."""
        folder = self.folder_of(os.path.dirname(image))
        names = self.names_in(folder)
        suffix = self.spec.mask_suffix or ""
        candidates = [stem + suffix] if "." in suffix else [stem + suffix + extension for extension in MASK_EXTENSIONS]
        for candidate in candidates:
            if candidate in names:
                return os.path.join(folder, candidate)
            upper = os.path.splitext(candidate)[0] + os.path.splitext(candidate)[1].upper()
            if upper in names:
                return os.path.join(folder, upper)
        expected = os.path.join(folder, candidates[0])
        raise DataError(f"{image}: every image needs a mask; expected {expected}; {self._hint(folder, stem)}")

    def _hint(self, folder: str, stem: str) -> str:
        names = self.names_in(folder)
        if not names:
            return f"folder {folder} is missing or empty (masks_dir is {self.spec.masks_dir!r})"
        if f"{stem}.txt" in names:
            return f"found {stem}.txt, and polygons are not read: draw them into a PNG of class indices"
        if any(f"{stem}{extension}" in names for extension in (".jpg", ".jpeg")):
            return "found a JPEG, which does not keep class indices: save masks as PNG"
        close = sorted(name for name in names if name.startswith(stem))
        if close:
            return f"found {close[0]}: set mask_suffix"
        return f"the folder holds {len(names)} other files, as {min(names)}: add the mask or remove the image"

    def _folder_of(self, image_folder: str) -> str:
        parts = Path(image_folder).parts
        # The last occurrence: a parent folder of the data set may be called "images" as well.
        places = [index for index, part in enumerate(parts) if part == self.spec.images_dir]
        if not places:
            raise DataError(
                f"{image_folder}: masks lie where the path part {self.spec.images_dir!r} is replaced by "
                f"{self.spec.masks_dir!r}; found no such part: rename the folder or set "
                f"images_dir in {self.spec.source}"
            )
        return str(Path(*parts[: places[-1]], self.spec.masks_dir, *parts[places[-1] + 1 :]))

    @staticmethod
    def _names_in(folder: str) -> frozenset[str]:
        try:
            return frozenset(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()


def _unique_ids(stems_and_images: list[tuple[str, str]]) -> list[str]:
    """The stems; where several images share one, preceded by the folders that tell them apart."""
    folders: dict[str, list[str]] = defaultdict(list)
    for stem, image in stems_and_images:
        folders[stem].append(os.path.dirname(image))
    ids: list[str] = []
    for stem, image in stems_and_images:
        if len(folders[stem]) == 1:
            ids.append(stem)
            continue
        shared = os.path.commonpath(folders[stem])
        between = os.path.relpath(os.path.dirname(image), shared)
        parts = [part for part in Path(between).parts if part != "."]
        ids.append("__".join([*parts, stem]))
    owner: dict[str, str] = {}
    for name, (_, image) in zip(ids, stems_and_images, strict=True):
        other = owner.setdefault(name, image)
        if other != image:
            raise DataError(f"{image}: sample ids must differ; {other} is called {name!r} too; rename one")
    return ids
