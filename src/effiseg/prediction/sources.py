"""Meaning of a SOURCE: images and videos with an id each, a webcam or a stream."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Literal

from effiseg.data.folders import glob_files, has_wildcard, walk_files
from effiseg.data.names import IMAGE_EXTENSIONS, clean_id
from effiseg.data.regular_file import open_regular, refuse_irregular
from effiseg.errors import DataError, EffisegError, UsageError
from effiseg.files import SETTINGS_BYTES, parse_json
from effiseg.prediction.pictures import SUFFIXES
from effiseg.results import PREDICTION_RECORD

OUTPUT_FOLDERS = frozenset(SUFFIXES)
Kind = Literal["image", "video", "stream"]
VIDEO_EXTENSIONS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts")


@dataclass(frozen=True)
class Source:
    """One thing to predict."""

    id: str
    """Name of its outputs; may hold slashes, which are folders."""
    address: str
    """Path, URL, or the number of a webcam."""
    kind: Kind
    """image; video: a file with an end; stream: a webcam or URL, which ends when it is stopped."""

    @property
    def name(self) -> str:
        """The file's own name, below the folders of the id."""
        return str(PurePosixPath(self.id).parent / Path(self.address).name)


def find_sources(
    words: Sequence[str],
    leave_out: Path | None = None,
    passed_over: list[str] | None = None,
    outputs: list[str] | None = None,
) -> list[Source]:
    """Everything that SOURCE names, sorted.

    A folder is searched with its subfolders, and ids keep them: `a/1.jpg` and `b/1.jpg` stay apart. Files of one
    folder that differ only in their suffix keep it in their ids.

    Args:
        words: files, folders, globs (`**` for any depth), URLs, and numbers of webcams.
        leave_out: a folder whose files are passed over: where the outputs go.
        passed_over: where hidden files and folders are noted, which are left out.
        outputs: where outputs of earlier predictions are noted that lie inside a folder or glob; they are left out.

    Raises:
        DataError: no such file or folder, or a folder or glob with neither image nor video; or two files whose ids are
            the same.
        UsageError: a webcam or stream beside other sources.
    """
    streams = [word for word in words if _is_stream(word)]
    if streams:
        if len(words) > 1:
            raise UsageError(f"a webcam or stream is predicted alone; found {len(words)} sources with {streams[0]}")
        name = f"webcam{streams[0]}" if streams[0].isdigit() else _name_of_url(streams[0])
        return [Source(name, streams[0], "stream")]
    passed_over = [] if passed_over is None else passed_over
    outputs = [] if outputs is None else outputs
    found = [_files_of(word, leave_out, passed_over, outputs) for word in words]
    paths = sorted({os.path.abspath(path) for _, files in found for path in files})  # noqa: PTH100 - links stay
    folders = [os.path.abspath(folder) for folder, _ in found]  # noqa: PTH100
    # A glob may lead out of the folder that it begins with.
    root = os.path.commonpath([*folders, *map(os.path.dirname, paths)])
    return _with_ids(paths, root)


def _is_stream(word: str) -> bool:
    """Whether a SOURCE is a webcam's number or a URL, and no file of that name."""
    return "://" in word or (word.isascii() and word.isdigit() and not Path(word).exists())


def _files_of(word: str, leave_out: Path | None, passed_over: list[str], outputs: list[str]) -> tuple[str, list[str]]:
    """The folder that ids are relative to, and the files."""
    path = Path(word).expanduser()
    if path.is_file():
        return str(path.parent), [str(path)]
    if path.is_dir():
        root, candidates = str(path), list(walk_files(str(path), passed_over))
    elif has_wildcard(word):
        parts = path.parts
        fixed = next(index for index, part in enumerate(parts) if has_wildcard(part))
        root = str(Path(*parts[:fixed])) if fixed else "."
        candidates = glob_files(str(path), passed_over)
    else:
        if path.exists():
            refuse_irregular(path, "SOURCE")
        raise DataError(f"{word}: no such file or folder; SOURCE is an image, video, folder, glob, webcam or URL")
    outside = None if leave_out is None else leave_out.resolve()
    files, holds_record = [], cache(_holds_record)
    for name in candidates:
        if not name.lower().endswith((*IMAGE_EXTENSIONS, *VIDEO_EXTENSIONS)):
            continue
        if outside is not None and Path(name).resolve().is_relative_to(outside):
            continue
        if _is_output(Path(name), Path(root), holds_record):
            outputs.append(name)
        else:
            files.append(name)
    if not files:
        known = " ".join(IMAGE_EXTENSIONS)
        but = f" but outputs of an earlier prediction, as {outputs[0]}" if outputs else ""
        raise DataError(f"{word}: must hold images ({known}) or videos; found none{but}")
    return root, files


def _is_output(path: Path, root: Path, holds_record: Callable[[str], bool]) -> bool:
    """Whether a file below `root` was written by a prediction, whose folder lies there too or is `root`."""
    folders = path.relative_to(root).parts[:-1] if path.is_relative_to(root) else ()
    return any(
        name in OUTPUT_FOLDERS and holds_record(str(root.joinpath(*folders[:level])))
        for level, name in enumerate(folders)
    )


def _holds_record(folder: str) -> bool:
    record = Path(folder, PREDICTION_RECORD)
    try:
        with open_regular(record, "record") as stream:
            value = parse_json(stream.read(SETTINGS_BYTES), record)
    except (EffisegError, OSError):
        return False
    return isinstance(value, dict) and isinstance(value.get("settings"), dict)


def _with_ids(paths: Sequence[str], root: str) -> list[Source]:
    relative = [Path(os.path.relpath(path, root)) for path in paths]
    stems = [_id(name.with_suffix("")) for name in relative]
    # Folded, because some file systems hold A.png and a.png to be the same file.
    often = Counter(stem.casefold() for stem in stems)
    ids = [_id(name) if often[stem.casefold()] > 1 else stem for name, stem in zip(relative, stems, strict=True)]
    owner: dict[str, str] = {}
    for name, path in zip(ids, paths, strict=True):
        if owner.setdefault(name, path) != path:
            raise _same_outputs(owner[name], path)
    return [
        Source(name, path, "video" if path.lower().endswith(VIDEO_EXTENSIONS) else "image")
        for name, path in zip(ids, paths, strict=True)
    ]


def refuse_same_outputs(sources: Sequence[Source], files: Callable[[Source], Sequence[str]]) -> None:
    """Raise where what is written of two sources would have one name, or the name of a folder of the other's.

    Args:
        sources: with ids that differ.
        files: what is written of a source; a name that ends in a slash is a folder of its own.

    Raises:
        DataError: the two sources.
    """
    owner: dict[str, str] = {}
    for source in sources:
        for name in files(source):
            other = owner.setdefault(name.rstrip("/"), source.address)
            if other != source.address:
                raise _same_outputs(other, source.address)
    for source in sources:
        for name in files(source):
            for place, sign in enumerate(name):
                if sign == "/" and (other := owner.get(name[:place], source.address)) != source.address:
                    raise _same_outputs(other, source.address)


def _same_outputs(one: str, other: str) -> DataError:
    return DataError(
        f"{one}: outputs of sources must have different names; those of {other} would be the same; rename one, or "
        "predict them into folders of their own"
    )


def _id(name: Path) -> str:
    """An id that stays below the folder of outputs, whatever the file is called."""
    return "/".join(map(clean_id, name.parts))


def _name_of_url(url: str) -> str:
    rest = url.partition("://")[2].partition("?")[0].rpartition("@")[2]  # without a password
    return "".join(sign if sign.isalnum() or sign in ".-" else "_" for sign in rest).strip("._") or "stream"
