"""Pictures for a cluster, cut into parts: folders, globs, lists, shards, and columns of bytes in Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from effiseg.data.folders import glob_files, has_wildcard
from effiseg.data.names import clean_id
from effiseg.data.picture_sources import spec_of_pictures
from effiseg.data.regular_file import AnyPath, EmbeddedFile
from effiseg.data.shards.listing import names_shards
from effiseg.data.unlabeled_samples import list_unlabeled
from effiseg.errors import DataError, UsageError
from effiseg.prediction.sources import find_sources

PARQUET_SUFFIX = ".parquet"
_ROWS = 16
"""Rows that are read of a Parquet file at a time."""


@dataclass(frozen=True)
class Picture:
    """One picture."""

    id: str
    """Name of its outputs."""
    file: AnyPath
    """Where it lies."""


@dataclass(frozen=True)
class PictureBytes(EmbeddedFile):
    """A picture in memory."""

    name: str
    """What it is called in errors."""
    data: bytes
    """An image file's content."""

    def __fspath__(self) -> str:
        return self.name

    def __str__(self) -> str:
        return self.name

    def read(self) -> bytes:
        """See `EmbeddedFile`."""
        return self.data

    @property
    def container(self) -> Path:
        """There is none on a disk."""
        return Path(self.name)

    @property
    def extent(self) -> tuple[int, int]:
        """See `EmbeddedFile`."""
        return 0, len(self.data)


@dataclass(frozen=True)
class LakePart:
    """Pictures that an actor takes at a time."""

    name: str
    """What its outputs are called; the same each time."""
    listed: tuple[Picture, ...] = ()
    """Pictures, where each has a place."""
    table: str | None = None
    """A Parquet file, where pictures are rows of it."""
    row_group: int = 0
    """The rows, as Parquet groups them."""
    column: str = ""
    """Column of the pictures' bytes."""
    id_column: str | None = None
    """Column of their ids; None: they are numbered."""
    count: int = 0
    """How many there are."""

    def pictures(self) -> Iterator[Picture]:
        """The pictures in their order; few are in memory at a time."""
        if self.table is None:
            yield from self.listed
            return
        columns = [self.column, *([self.id_column] if self.id_column is not None else [])]
        stem, place = Path(self.table).stem, 0
        with _parquet(self.table) as table:
            for batch in table.iter_batches(_ROWS, row_groups=[self.row_group], columns=columns):
                for row in batch.to_pylist():
                    own = f"{stem}-{self.row_group:05d}-{place:07d}" if self.id_column is None else row[self.id_column]
                    name, data = clean_id(str(own)), row[self.column]
                    data = data.get("bytes") if isinstance(data, dict) else data  # as Hugging Face stores images
                    yield Picture(name, PictureBytes(f"{self.table}/{name}", data or b""))
                    place += 1


def lake_parts(words: Sequence[str], out: Path | None, size: int, column: str, id_column: str | None) -> list[LakePart]:
    """All pictures of SOURCE in parts; the same words and files give the same parts.

    Args:
        words: of the command.
        out: the folder of outputs, where it is one of this machine.
        size: pictures of a part.
        column: of Parquet files, the pictures' bytes.
        id_column: of Parquet files, ids.

    Raises:
        DataError: there are no pictures, or a Parquet file has no such column.
        UsageError: videos or streams, or words of several kinds.
    """
    if any(map(_is_table, words)):
        if not all(map(_is_table, words)):
            raise UsageError("SOURCE: Parquet files are labelled alone; found other sources beside them")
        return [part for word in words for part in _table_parts(word, column, id_column)]
    listed = [word for word in words if names_shards(word) or word.lower().endswith(".txt")]
    if listed and len(words) > 1:
        raise UsageError(f"SOURCE: a list or shards are labelled alone; found {len(words)} sources with {listed[0]}")
    if listed:
        samples = list_unlabeled(spec_of_pictures(listed[0]), [])
        pictures: Iterator[Picture] = (Picture(sample.id, sample.image) for sample in samples)
    else:
        found = find_sources(words, out)
        if moving := [source.address for source in found if source.kind != "image"]:
            raise UsageError(f"--on ray labels pictures; found the video or stream {moving[0]}: leave it out")
        pictures = (Picture(source.id, source.address) for source in found)
    parts: list[LakePart] = []
    group: list[Picture] = []
    for picture in pictures:
        group.append(picture)
        if len(group) == size:
            parts.append(LakePart(f"part-{len(parts):06d}", tuple(group), count=size))
            group = []
    if group:
        parts.append(LakePart(f"part-{len(parts):06d}", tuple(group), count=len(group)))
    return parts


def _is_table(word: str) -> bool:
    return word.lower().endswith(PARQUET_SUFFIX)


def _table_parts(word: str, column: str, id_column: str | None) -> Iterator[LakePart]:
    remote = "://" in word and not word.startswith("file://")
    local = word.removeprefix("file://")
    if remote:
        import fsspec

        files = [f"s3://{path}" for path in sorted(fsspec.filesystem("s3").glob(word))]
    else:
        files = sorted(glob_files(local, [])) if has_wildcard(local) else [local]
    if not files:
        raise DataError(f"{word}: must be a Parquet file or a glob of them; found none")
    for file in files:
        with _parquet(file) as table:
            names = table.schema_arrow.names
            for wanted in (column, id_column):
                if wanted is not None and wanted not in names:
                    raise DataError(f"{file}: has no column {wanted!r}; it has {', '.join(names)}: set --ray_column")
            for group in range(table.metadata.num_row_groups):
                rows = table.metadata.row_group(group).num_rows
                name = f"{clean_id(Path(file).stem)}-{group:05d}"
                yield LakePart(name, table=file, row_group=group, column=column, id_column=id_column, count=rows)


def _parquet(file: str) -> Any:
    """A Parquet file, opened.

    Raises:
        DataError: it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if "://" in file:
            import fsspec

            return pq.ParquetFile(fsspec.open(file, "rb").open())
        return pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file}: is no Parquet file that can be read ({' '.join(str(error).split())[:200]})") from None
