"""What lies in a folder that is no data set yet, as far as telling its kind needs it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from effiseg.data.folders import walk_files
from effiseg.data.names import IMAGE_EXTENSIONS
from effiseg.data.regular_file import open_regular
from effiseg.errors import DataError

_MOST_FILES = 20_000
_HEAD_BYTES = 1_000_000


class Recognized(NamedTuple):
    """The kind of a folder, and the YAML file that describes it."""

    title: str
    """What wrote it."""
    keys: dict[str, Any]
    """Keys and values of the YAML file."""


@dataclass(frozen=True)
class FolderContents:
    """A folder's files, by their paths relative to it."""

    root: Path
    """The folder."""

    @cached_property
    def files(self) -> list[PurePosixPath]:
        """The first 20 000 files below it; none where it cannot be read."""
        try:
            found = list(islice(walk_files(str(self.root), []), _MOST_FILES))
        except DataError:
            return []
        return [PurePosixPath(Path(path).relative_to(self.root).as_posix()) for path in found]

    def named(self, ending: str) -> list[PurePosixPath]:
        """Files whose names end so, in any case."""
        return [file for file in self.files if file.name.lower().endswith(ending)]

    def head(self, file: PurePosixPath) -> str:
        """The text of the first megabyte of a file; empty where it cannot be read."""
        try:
            with open_regular(self.root / file, "annotations") as stream:
                return stream.read(_HEAD_BYTES).decode("utf-8-sig", errors="replace")
        except (DataError, OSError):
            return ""

    @cached_property
    def image_folder(self) -> str:
        """The folder that holds the most images."""
        counts = Counter(str(file.parent) for file in self.files if file.name.lower().endswith(IMAGE_EXTENSIONS))
        return counts.most_common(1)[0][0] if counts else "images"

    def described(self, names: list[str], **keys: Any) -> dict[str, Any]:
        """Keys of a YAML file with names, two at least, and what is in no shape.

        Args:
            names: labels that were found.
            keys: the others.
        """
        names = list(dict.fromkeys(names))
        rest = "background"
        if len(names) > 1 and rest not in names:
            return {**keys, "names": names, "background": "ignore_label"}
        return {**keys, "names": [*names, *({rest} - set(names))], "background": rest}

    def of_splits(self, files: list[PurePosixPath]) -> dict[str, str]:
        """The files of annotations by the splits that they are called after; the first is train's where none is."""
        named = {split: file for file in files for split, words in _SPLIT_WORDS.items() if _words(file) & words}
        return {split: str(file) for split, file in (named or {"train": files[0]}).items()}


_SPLIT_WORDS = {
    "train": {"train", "training"},
    "val": {"val", "valid", "validation"},
    "test": {"test", "testing"},
}


def _words(file: PurePosixPath) -> set[str]:
    return set(str(file.with_suffix("")).lower().replace("_", "/").replace("-", "/").replace(".", "/").split("/"))
