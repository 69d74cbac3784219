"""Settings of a run that hold from any working directory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from effiseg.config.training import INIT_WORDS, TrainConfig, one_or_several
from effiseg.data.dataset_spec import preset_names
from effiseg.data.shards.remote import is_remote


def with_absolute_paths(config: TrainConfig) -> TrainConfig:
    """The same settings with local paths made absolute, so that a run resumes from any folder."""

    def absolute(path: str | None) -> str | None:
        return str(Path(path).resolve()) if path is not None and Path(path).exists() else path

    def known_or_absolute(data: str | None) -> str | None:
        """A preset's name stays one, also beside a folder of that name."""
        return data if data in preset_names() else absolute(data)

    return replace(
        config,
        data=known_or_absolute(config.data) or config.data,
        data_root=absolute(config.data_root),
        teacher=one_or_several([absolute(path) or path for path in config.teachers]),
        unlabeled=[
            entry if is_remote(entry) else str(Path(entry).expanduser().resolve()) for entry in config.unlabeled
        ],
        init=config.init if config.init in INIT_WORDS else absolute(config.init),
        transfer=replace(
            config.transfer, data=known_or_absolute(config.transfer.data), data_root=absolute(config.transfer.data_root)
        ),
    )
