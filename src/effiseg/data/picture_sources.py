"""DATA of commands that work on pictures with masks or without."""

from __future__ import annotations

from pathlib import Path

from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec, preset_names
from effiseg.data.folders import has_wildcard
from effiseg.data.shards.listing import names_shards


def dataset_or_pictures(data: str, data_root: str | None) -> DatasetSpec:
    """The description of a data set, or of pictures alone.

    Args:
        data: a YAML file or a preset; or a folder, glob, .txt list or shards, which are pictures without masks.
        data_root: see `load_dataset_spec`.

    Raises:
        DataError, UsageError: as `load_dataset_spec`.
    """
    path = Path(data).expanduser()
    is_pictures = path.is_dir() or path.suffix.lower() == ".txt" or has_wildcard(data) or names_shards(data)
    if data in preset_names() or data_root is not None or not is_pictures or _holds_description(path):
        return load_dataset_spec(data, data_root)
    return spec_of_pictures(data)


def spec_of_pictures(entry: str) -> DatasetSpec:
    """The description of pictures without masks: no split and no class.

    Args:
        entry: a folder, a glob, a .txt list, or shards.
    """
    return DatasetSpec(
        name=Path(entry).stem,
        source=Path(entry),
        root=Path(),
        splits={},
        names=(),
        ignore_index=255,
        label_mapping=None,
        palette=(),
        unlabeled=(entry,),
    )


def _holds_description(path: Path) -> bool:
    """Whether a folder has a YAML file, which is then meant."""
    return path.is_dir() and any(entry.suffix in (".yaml", ".yml") for entry in path.iterdir())
