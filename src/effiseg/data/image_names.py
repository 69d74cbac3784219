"""The images of a split: folders, globs and lists of paths, as the YAML file names them.

Paths are strings and folders are listed once here, so that 100 000 pairs take seconds.
"""
# ruff: noqa: PTH110, PTH120, PTH112, PTH118, PTH119, PTH122

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.faults import Fault, ListingNotes, noting
from effiseg.data.folders import glob_files, walk_files
from effiseg.data.names import IMAGE_EXTENSIONS, is_hidden
from effiseg.data.regular_file import read_data_text
from effiseg.errors import DataError


def images_of(
    spec: DatasetSpec, split: str, entry: str, faults: list[Fault] | None, notes: ListingNotes
) -> list[tuple[str, str | None]]:
    """The images that one entry of a split names, each with its mask where a list names that too.

    Paths are absolute or relative to the working directory.

    Args:
        spec: the data set.
        split: the split, for errors.
        entry: a folder, glob or list.
        faults: where faults of single lines are noted.
        notes: where it is noted what was passed over.

    Raises:
        DataError: the entry leads to no image.
    """
    target = spec.root / Path(entry).expanduser()
    found: list[tuple[str, str | None]]
    if target.is_dir():
        found = [(image, None) for image in _pictures(walk_files(str(target), notes.passed_over), notes)]
    elif target.suffix.lower() == ".txt":
        found = _read_list(spec, split, target, faults)
    else:
        pattern = str(Path(glob.escape(str(spec.root))) / Path(entry).expanduser())
        found = [(os.path.normpath(path), None) for path in glob_files(pattern, notes.passed_over) if _is_image(path)]
        if not found:
            raise DataError(
                f"{spec.source}: {split} must lead to images; found neither a folder nor a match for "
                f"{target} (correct {split}, path or --data_root)"
            )
    images = [
        pair
        for pair in found
        if _strip_suffix(os.path.basename(pair[0]), spec.image_suffix) is not None
        and not pair[0].endswith(spec.masks.mask_endings)
    ]
    if not images:
        wanted = f"names ending in {spec.image_suffix}" if spec.image_suffix else "files " + ", ".join(IMAGE_EXTENSIONS)
        raise DataError(f"{target}: {split} must hold images ({wanted}); found none among {len(found)} image files")
    return images


def _pictures(files: Iterable[str], notes: ListingNotes) -> list[str]:
    """Those that are images by their names; of a folder that was walked the others are noted, a mask may tell of them.

    A folder with a mask of the same name beside it is not known here, so nothing is said of any file yet.
    """
    images: list[str] = []
    for path in files:
        if _is_image(path):
            images.append(path)
            notes.walked.add(os.path.dirname(path))
        else:
            notes.others.append(path)
    return images


def _read_list(
    spec: DatasetSpec, split: str, list_file: Path, faults: list[Fault] | None
) -> list[tuple[str, str | None]]:
    """The names in a .txt file, one image a line, perhaps followed by its mask."""
    try:
        lines = read_data_text(list_file, "list").split("\n")  # other line ends may stand in names
    except DataError as error:
        raise DataError(f"{spec.source}: {split}: {error}") from None
    found: list[tuple[str, str | None]] = []
    for number, line in enumerate(lines, start=1):
        written = line.strip(" \t\r")
        if not written or written.startswith("#"):
            continue
        with noting(faults, "entry", list_file):
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
                # What is no regular file is named when it is refused; a folder may well have a bare id's name.
                if os.path.exists(path) and not os.path.isdir(path):
                    return path
    return None


def _with_fewer_folders(written: str) -> Iterator[str]:
    """A path, and the ends of an absolute one: it may be another machine's, as "/SegNet/CamVid/train/a.png".

    Backslashes are tried as they are, and as the separators of another system.
    """
    yield written
    parts = written.replace("\\", "/").split("/")
    if "\\" in written:
        yield "/".join(parts)
    if parts[0] and not parts[0].endswith(":"):
        return
    for start in range(1, len(parts)):
        if parts[start]:
            yield "/".join(parts[start:])


def _is_image(path: str) -> bool:
    name = os.path.basename(path)
    return name.lower().endswith(IMAGE_EXTENSIONS) and not is_hidden(name)


def _strip_suffix(name: str, suffix: str | None) -> str | None:
    """The sample's id in a file name; None where the name does not end in the suffix."""
    stem = os.path.splitext(name)[0]
    if suffix is None:
        return stem
    whole = name if "." in suffix else stem
    return whole.removesuffix(suffix) if whole.endswith(suffix) and whole != suffix else None


def stem_of(spec: DatasetSpec, image: str) -> str:
    """The part of an image's name that its mask shares."""
    stem = _strip_suffix(os.path.basename(image), spec.image_suffix)
    assert stem is not None, image
    return stem
