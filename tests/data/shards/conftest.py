from __future__ import annotations

from pathlib import Path

import pytest

from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.shards.writing import shard_dataset

SHARD_MB = 0.03


@pytest.fixture
def shards(colour_data: Path, tmp_path: Path) -> Path:
    """`colour_data` as several shards a split; the folder."""
    folder = tmp_path / "shards"
    shard_dataset(load_dataset_spec(colour_data), folder, shard_mb=SHARD_MB, processes=1)
    assert len(list(folder.glob("train-*.tar"))) > 2
    return folder
