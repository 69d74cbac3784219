"""Listing a split: which images it has, where their masks lie, and what the samples are called.

Paths are strings and folders are listed once here, so that 100 000 pairs take two seconds.
"""
# ruff: noqa: PTH112, PTH113, PTH118, PTH119, PTH120, PTH122, PTH207, PTH208

from __future__ import annotations

import glob
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from effiseg.data.coco import load_annotations
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
    """The mask file, which exists; for COCO the split's JSON file."""


class Fault(NamedTuple):
    """What keeps an image out of a split."""

    rule: Literal["entry", "mask", "pairing"]
    """entry: what the YAML file or a list names is not there. mask: an image has none. pairing: a mask or an id
    belongs to several images."""
    message: str
    """One line."""
    file: str
    """The file concerned."""


@contextmanager
def _noting(faults: list[Fault] | None, rule: Literal["entry", "mask", "pairing"], file: object) -> Iterator[None]:
    """Let a DataError pass, or note it where faults are collected."""
    try:
        yield
    except DataError as error:
        if faults is None:
            raise
        faults.append(Fault(rule, str(error), str(file)))


def list_samples(spec: DatasetSpec, split: str, faults: list[Fault] | None = None) -> list[Sample]:
    """The samples of a split, sorted by image path; an image named twice counts once.

    The id is the image's name without `image_suffix` (or its extension). Names that occur in several folders
    are told apart by those folders: "a/0001.jpg" and "b/0001.jpg" become "a__0001" and "b__0001".

    With COCO annotations, images that the split's JSON file does not list are passed over.

    Args:
        spec: the data set.
        split: name of the split.
        faults: where faults are noted; the samples that they concern may be missing. None: the first one is raised.

    Raises:
        DataError: the data set has no such split, an entry leads to no image, an image has no mask, or two
            images share a mask; the message names the file.
    """
    if split not in spec.splits:
        raise DataError(f"{spec.source}: no split {split!r}; found {', '.join(spec.splits)}")
    if spec.objects is not None:
        from effiseg.data.python_data import python_samples  # its samples are a kind of those defined here

        return python_samples(spec.objects, split)
    listed: dict[str, str | None] = {}
    for entry in spec.splits[split]:
        with _noting(faults, "entry", spec.source):
            for image, mask in _images_of(spec, split, entry, faults):
                if mask and listed.get(image, mask) not in (mask, None):
                    raise DataError(f"{image}: an image has one mask; found {listed[image]} and {mask}; remove one")
                listed[image] = mask or listed.get(image)
    images = sorted(listed)
    pairs: list[tuple[str, str, str]] = []
    if spec.masks.format == "coco":
        file = str(spec.root / spec.masks.annotations[split])
        with _noting(faults, "pairing", file):
            pairs = [(_stem(spec, image), image, file) for image in _annotated(spec, split, file, images)]
    else:
        mask_names = _MaskNames(spec)
        for image in images:
            stem = _stem(spec, image)
            with _noting(faults, "mask", image):
                pairs.append((stem, image, listed[image] or mask_names.find(image, stem)))
        _refuse_shared([(image, mask) for _, image, mask in pairs], faults)
    ids = _unique_ids([(stem, image) for stem, image, _ in pairs], faults)
    return [Sample(name, Path(image), Path(mask)) for name, (_, image, mask) in zip(ids, pairs, strict=True)]


def _annotated(spec: DatasetSpec, split: str, file: str, images: list[str]) -> list[str]:
    """The images that a COCO file lists."""
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
            f"(correct annotations or {split} in {spec.source})"
        )
    return list(found.values())


def _refuse_shared(pairs: list[tuple[str, str]], faults: list[Fault] | None) -> None:
    """A mask belongs to one image."""
    owner: dict[str, str] = {}
    for image, mask in pairs:
        other = owner.setdefault(mask, image)
        if other != image:
            with _noting(faults, "pairing", mask):
                raise DataError(f"{mask}: a mask belongs to one image; found {other} and {image}; remove one")


def _stem(spec: DatasetSpec, image: str) -> str:
    stem = _strip_suffix(os.path.basename(image), spec.image_suffix)
    assert stem is not None, image
    return stem


def _images_of(spec: DatasetSpec, split: str, entry: str, faults: list[Fault] | None) -> list[tuple[str, str | None]]:
    """The images that one entry of a split names, each with its mask where a list names that too.

    Paths are absolute or relative to the working directory.
    """
    target = spec.root / Path(entry).expanduser()
    found: list[tuple[str, str | None]]
    if target.is_dir():
        found = [(image, None) for image in _walk(str(target))]
    elif target.suffix.lower() == ".txt":
        found = _read_list(spec, split, target, faults)
    else:
        found = [(os.path.normpath(path), None) for path in glob.glob(str(target), recursive=True) if _is_image(path)]
        if not found:
            raise DataError(
                f"{spec.source}: {split} must lead to images; found neither a folder nor a match for "
                f"{target} (correct {split}, path or --data_root)"
            )
    images = [pair for pair in found if _strip_suffix(os.path.basename(pair[0]), spec.image_suffix) is not None]
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


def _read_list(
    spec: DatasetSpec, split: str, list_file: Path, faults: list[Fault] | None
) -> list[tuple[str, str | None]]:
    """What a .txt file names, one image a line, perhaps followed by its mask."""
    try:
        lines = read_text(list_file).splitlines()
    except UsageError as error:
        raise DataError(f"{spec.source}: {split}: {error}") from None
    found: list[tuple[str, str | None]] = []
    for number, line in enumerate(lines, start=1):
        written = line.strip()
        if not written or written.startswith("#"):
            continue
        with _noting(faults, "entry", list_file):
            pair = _find_line(spec, list_file.parent, written)
            if pair is None:
                raise DataError(
                    f"{list_file}: line {number} must name an image, relative to {list_file.parent}, {spec.root} or "
                    f"its folder {' or '.join(spec.images_dir)}; found {written!r}, which does not exist"
                )
            if _strip_suffix(os.path.basename(pair[0]), spec.image_suffix) is None:
                raise DataError(f"{list_file}: line {number} must end in {spec.image_suffix}; found {written!r}")
            found.append(pair)
    return found


def _find_line(spec: DatasetSpec, folder: Path, line: str) -> tuple[str, str | None] | None:
    """The image of a list's line, or the image and the mask: a name may hold spaces, so all places are tried."""
    if (image := _find_image(spec, folder, (line,))) is not None:
        return image, None
    for place, character in enumerate(line):
        if character not in " \t,":
            continue
        image = _find_image(spec, folder, _with_fewer_folders(line[:place].strip()))
        masks = _with_fewer_folders(line[place + 1 :].strip())
        if image is not None and (mask := _find_file((str(folder), str(spec.root)), masks, ("",))) is not None:
            return image, mask
    image = _find_image(spec, folder, _with_fewer_folders(line))
    return None if image is None else (image, None)


def _find_image(spec: DatasetSpec, folder: Path, names: Iterable[str]) -> str | None:
    folders = (str(folder), str(spec.root), *(str(spec.root / images_dir) for images_dir in spec.images_dir))
    # Without an ending it is a bare id, as in the lists of Pascal VOC.
    suffix = spec.image_suffix
    endings = IMAGE_EXTENSIONS if suffix is None else (suffix,) if "." in suffix else ()
    return _find_file(folders, names, ("", *endings))


def _find_file(folders: tuple[str, ...], names: Iterable[str], endings: tuple[str, ...]) -> str | None:
    for name in names:
        for folder in folders:
            for ending in endings:
                path = os.path.normpath(os.path.join(folder, name + ending))
                if os.path.isfile(path):
                    return path
    return None


def _with_fewer_folders(written: str) -> Iterator[str]:
    """A path, and the ends of an absolute one: it may be another machine's, as "/SegNet/CamVid/train/a.png"."""
    yield written
    parts = written.replace("\\", "/").split("/")
    if parts[0] and not parts[0].endswith(":"):
        return
    for start in range(1, len(parts)):
        if parts[start]:
            yield "/".join(parts[start:])


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
        extensions = (".txt",) if self.spec.masks.format == "yolo" else MASK_EXTENSIONS
        candidates = [stem + suffix] if "." in suffix else [stem + suffix + extension for extension in extensions]
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
            return f"folder {folder} is missing or empty (masks_dir is {' or '.join(self.spec.masks_dir)!r})"
        if self.spec.masks.format == "yolo":
            return "where nothing is to be seen, the file is empty"
        if f"{stem}.txt" in names:
            return f"found {stem}.txt: if it holds polygons, set mask_format: yolo"
        if any(f"{stem}{extension}" in names for extension in (".jpg", ".jpeg")):
            return "found a JPEG, which does not keep class indices: save masks as PNG"
        close = sorted(name for name in names if name.startswith(stem))
        if close:
            return f"found {close[0]}: set mask_suffix"
        return f"the folder holds {len(names)} other files, as {min(names)}: add the mask or remove the image"

    def _folder_of(self, image_folder: str) -> str:
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


def _unique_ids(stems_and_images: list[tuple[str, str]], faults: list[Fault] | None) -> list[str]:
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
            with _noting(faults, "pairing", image):
                raise DataError(f"{image}: sample ids must differ; {other} is called {name!r} too; rename one")
    return ids
