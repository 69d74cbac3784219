"""Which image file an annotation file means by a name that another machine may have written."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from effiseg.data.mask_errors import AnnotationError
from effiseg.data.names import IMAGE_EXTENSIONS

_EXACT = 1_000_000
"""Weight of an agreement in place over one in order; no path has so many folders."""


class ListedName(NamedTuple):
    """A name that an annotation file gives to an image."""

    path: str
    """As it is written, with plain slashes."""
    folders: tuple[str, ...]
    """The folders before its last part."""
    last: str
    """The file's own name."""
    is_foreign: bool
    """Whether it begins with a root, a drive, an address or "..": its folders may then be another machine's."""


def parse_name(written: str) -> ListedName | None:
    """The parts of a name; None where it names no file."""
    path = written.replace("\\", "/")
    foreign = False
    if address := re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path):
        path, foreign = re.sub(r"(\.\w+)[?#].*$", r"\1", path[address.end() :]), True
    elif re.match(r"[A-Za-z]:/|/|~", path):
        path, foreign = re.sub(r"^[A-Za-z]:", "", path), True
    path = posixpath.normpath(path)
    foreign = foreign or path.startswith("../")
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    return ListedName(path, tuple(parts[:-1]), parts[-1], foreign) if parts else None


def match_names(
    names: Sequence[ListedName], images: Iterable[str], root: Path, file: str, split: str
) -> dict[str, int]:
    """Which of the names each image is called by; images that none of them means are left out.

    Folders that a name carries must end the image's path, or occur in it in their order; more of them count for more.
    A name without folders, or whose folders are another machine's, means the image of its last part, where that is
    the only one of the listed and of the images that nothing else means, and no folder speaks against it (see
    `_Folders.contradict`); another machine's folders help where they end a path.

    Args:
        names: those that the file lists.
        images: paths of the images found.
        root: the data set's folder; folders above it agree with nothing unless folders below it do too.
        file: the annotation file, for errors.
        split: the split, for errors.

    Returns:
        Image → index of its name.

    Raises:
        AnnotationError: a name means two images equally well, or an image is meant by two names.
    """
    listed: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        listed[name.last].append(index)
    by_last: dict[str, list[str]] = defaultdict(list)
    for image in images:
        by_last[os.path.basename(image)].append(image)  # noqa: PTH119 - 100 000 of them
    found: dict[str, int] = {}
    folders = _Folders(names, root)
    for last, candidates in by_last.items():
        if last in listed:
            found |= _match_last(names, listed[last], candidates, folders, file, split)
    return found


def agrees_in_its_last_part_alone(name: ListedName, image: str, root: Path) -> bool:
    """Whether a name of another machine has folders, and none of them is one of the image's below `root`."""
    return name.is_foreign and bool(name.folders) and not set(name.folders) & set(_split_folders(image, root)[1])


class _Folders:
    """Folders that tell whether a name of another machine can mean an image.

    Args:
        names: all that are listed.
        root: the data set's folder.
    """

    def __init__(self, names: Sequence[ListedName], root: Path) -> None:
        self.root = root
        distinct = {name.folders for name in names}
        self._listed_ends = {folders[start:] for folders in distinct for start in range(len(folders))}
        self.holds_images = cache(_holds_images)

    def of(self, image: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Folders of an image above the data set's folder, that included, and below it."""
        return _split_folders(image, self.root)

    def contradict(self, name: ListedName, image: str) -> bool:
        """Whether a name of another machine says that it means another image.

        It does where other names are listed in the image's own folder; where one of its folders lies beside the
        image's and holds images; and where a folder differs from one of the image's in a number alone.
        """
        above, below = self.of(image)
        if not name.folders:
            return False
        path = above + below
        listed = next((len(path) - start for start in range(len(path)) if path[start:] in self._listed_ends), 0)
        if listed > _common_end(name.folders, path):
            return True
        own = name.folders  # what follows the data set's own folder, where they hold it
        own = own[len(own) - own[::-1].index(above[-1]) :] if above and above[-1] in own else own
        others = set(own) - set(below)
        if {_without_numbers(folder) for folder in others} & {
            _without_numbers(folder) for folder in set(below) - set(name.folders) if re.search(r"\d", folder)
        }:
            return True
        parents = [self.root.joinpath(*below[:level]) for level in range(len(below))]
        return any(self.holds_images(str(parent / folder)) for parent in parents for folder in sorted(others))


def _without_numbers(folder: str) -> str:
    return re.sub(r"\d+", "0", folder)


def _holds_images(folder: str) -> bool:
    return any(name.lower().endswith(IMAGE_EXTENSIONS) for _, _, files in os.walk(folder) for name in files)


def _match_last(
    names: Sequence[ListedName], listed: list[int], images: list[str], folders: _Folders, file: str, split: str
) -> dict[str, int]:
    """`match_names` among names and images of one last part."""
    claims: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for image in images:
        agreements = sorted(((_agreement(names[index], image, folders), index) for index in listed), reverse=True)
        best, index = agreements[0]
        if best > 0:
            if len(agreements) > 1 and agreements[1][0] == best:
                raise AnnotationError(
                    f"{file}: {image} must be listed once; found {names[index].path!r} and "
                    f"{names[agreements[1][1]].path!r}; write its whole path below {folders.root}"
                )
            claims[index].append((best, image))
    found: dict[str, int] = {}
    for index, claimed in claims.items():
        claimed.sort(reverse=True)
        if len(claimed) > 1 and claimed[0][0] == claimed[1][0]:
            raise _two_images(names[index], claimed[1][1], claimed[0][1], file, split)
        found[claimed[0][1]] = index
    left = [index for index in listed if index not in claims]
    if len(left) == 1 and (names[left[0]].is_foreign or not names[left[0]].folders):
        name = names[left[0]]
        free = [image for image in images if image not in found and not folders.contradict(name, image)]
        if len(free) > 1:
            first, second = sorted(free)[:2]
            raise _two_images(name, first, second, file, split)
        if free:
            found[free[0]] = left[0]
    return found


def _split_folders(image: str, root: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Folders of an image above the data set's folder, that included, and below it."""
    parts = Path(os.path.abspath(image)).parts[1:-1]  # noqa: PTH100 - links stay as they are
    above = Path(os.path.abspath(root)).parts[1:]  # noqa: PTH100
    return (above, parts[len(above) :]) if parts[: len(above)] == above else ((), parts)


def _agreement(name: ListedName, image: str, known: _Folders) -> int:
    """How well a name's folders agree with an image's; 0: they say nothing; negative: they say it is another."""
    above, below = known.of(image)
    folders, path = name.folders, above + below
    if name.is_foreign:
        common = _common_end(folders, path)
        return -1 if common and known.contradict(name, image) else common
    if not folders:
        return 0
    if path[-len(folders) :] == folders:
        return _EXACT + len(folders)
    # Folders down to the data set's own may lead the name; what follows must occur below it.
    for start in range(len(folders)):
        if path[len(above) - start : len(above)] == folders[:start] and _in_order(folders[start:], below):
            return len(folders)
    return -1


def _common_end(one: Sequence[str], other: Sequence[str]) -> int:
    length = 0
    while length < min(len(one), len(other)) and one[-1 - length] == other[-1 - length]:
        length += 1
    return length


def _in_order(wanted: Sequence[str], parts: Sequence[str]) -> bool:
    rest = iter(parts)
    return all(part in rest for part in wanted)


def _two_images(name: ListedName, first: str, second: str, file: str, split: str) -> AnnotationError:
    return AnnotationError(
        f"{file}: image {name.path!r} must mean one file of {split}; found {first} and {second}; "
        "write the folder into file_name, or remove one"
    )


def folded_name(name: str) -> str:
    """The form that names share that differ only in writing: case, %20, composed or decomposed letters."""
    return unicodedata.normalize("NFC", unquote(name)).casefold()
