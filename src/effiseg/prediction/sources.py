"""What a SOURCE means: images and videos with an id each, a webcam or a stream."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from effiseg.data.image_names import IMAGE_EXTENSIONS
from effiseg.errors import DataError, UsageError

Kind = Literal["image", "video", "stream"]
VIDEO_EXTENSIONS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts")
_WILDCARDS = "*?["


@dataclass(frozen=True)
class Source:
    """One thing to predict."""

    id: str
    """What its outputs are called; may hold slashes, which are folders."""
    address: str
    """Path, URL, or the number of a webcam."""
    kind: Kind
    """image; video: a file with an end; stream: a webcam or URL, which ends when it is stopped."""


def find_sources(words: Sequence[str], leave_out: Path | None = None) -> list[Source]:
    """Everything that SOURCE names, sorted.

    A folder is searched with its subfolders, and ids keep them: `a/1.jpg` and `b/1.jpg` stay apart. Files of one
    folder that differ only in their suffix keep it in their ids.

    Args:
        words: files, folders, globs (`**` for any depth), URLs, and numbers of webcams.
        leave_out: a folder whose files are passed over: where the outputs go.

    Raises:
        DataError: no such file or folder, or a folder or glob with neither image nor video.
        UsageError: a webcam or stream beside other sources.
    """
    streams = [word for word in words if is_stream(word)]
    if streams:
        if len(words) > 1:
            raise UsageError(f"a webcam or stream is predicted alone; found {len(words)} sources with {streams[0]}")
        name = f"webcam{streams[0]}" if streams[0].isdigit() else _name_of_url(streams[0])
        return [Source(name, streams[0], "stream")]
    found = [_files_of(word, leave_out) for word in words]
    root = os.path.commonpath([os.path.abspath(folder) for folder, _ in found])  # noqa: PTH100 - links stay as they are
    paths = sorted({os.path.abspath(path) for _, files in found for path in files})  # noqa: PTH100
    return _with_ids(paths, root)


def is_stream(word: str) -> bool:
    """Whether a SOURCE is a webcam's number or a URL, and no file of that name."""
    return "://" in word or (word.isascii() and word.isdigit() and not Path(word).exists())


def _files_of(word: str, leave_out: Path | None) -> tuple[str, list[str]]:
    """The folder that ids are relative to, and the files."""
    path = Path(word).expanduser()
    if path.is_file():
        return str(path.parent), [str(path)]
    if path.is_dir():
        root, candidates = str(path), [str(entry) for entry in path.rglob("*")]
    elif any(sign in word for sign in _WILDCARDS):
        parts = path.parts
        fixed = next(index for index, part in enumerate(parts) if any(sign in part for sign in _WILDCARDS))
        root = str(Path(*parts[:fixed])) if fixed else "."
        candidates = glob.glob(str(path), recursive=True)  # noqa: PTH207 - a pattern may be absolute
    else:
        raise DataError(f"{word}: no such file or folder; SOURCE is an image, video, folder, glob, webcam or URL")
    outside = None if leave_out is None else leave_out.resolve()
    files = [
        name
        for name in candidates
        if name.lower().endswith((*IMAGE_EXTENSIONS, *VIDEO_EXTENSIONS))
        and not Path(name).name.startswith(".")
        and Path(name).is_file()
        and not (outside is not None and Path(name).resolve().is_relative_to(outside))
    ]
    if not files:
        known = " ".join(IMAGE_EXTENSIONS)
        raise DataError(f"{word}: must hold images ({known}) or videos; found none")
    return root, files


def _with_ids(paths: Sequence[str], root: str) -> list[Source]:
    relative = [Path(os.path.relpath(path, root)) for path in paths]
    stems = [name.with_suffix("").as_posix() for name in relative]
    # Folded, because some file systems hold A.png and a.png to be the same file.
    often = Counter(stem.casefold() for stem in stems)
    return [
        Source(
            name.as_posix() if often[stem.casefold()] > 1 else stem,
            path,
            "video" if name.suffix.lower() in VIDEO_EXTENSIONS else "image",
        )
        for path, name, stem in zip(paths, relative, stems, strict=True)
    ]


def _name_of_url(url: str) -> str:
    rest = url.partition("://")[2].partition("?")[0].rpartition("@")[2]  # without a password
    return "".join(sign if sign.isalnum() or sign in ".-" else "_" for sign in rest).strip("._") or "stream"
