"""`effiseg data shard`: write pictures, with masks or without, as shards of WebDataset's format."""

from __future__ import annotations

import shlex

from effiseg.config.command_line import parse_command
from effiseg.config.dataset import DataShardConfig
from effiseg.progress import progress_bar


def run(argv: list[str]) -> int:
    """Parse, write, say what was written and how to use it."""
    config = parse_command(
        DataShardConfig,
        argv,
        prog="effiseg data shard",
        description="Write a data set, or pictures without masks, as tar shards of WebDataset's format with an index "
        "of each; the files' bytes stay as they are. The same command goes on where it was ended.",
        words=("data",),
    )
    from effiseg.data.picture_sources import dataset_or_pictures
    from effiseg.data.shards.writing import YAML_NAME, shard_dataset

    spec = dataset_or_pictures(config.data, config.data_root)
    with progress_bar("writing shards", log_seconds=30) as advance:
        splits = shard_dataset(spec, config.out, shard_mb=config.shard_mb, progress=advance)
    written = ", ".join(
        f"{name} {split['samples']} in {len(split['shards'])} shards ({split['bytes'] / 1e6:.1f} MB)"
        for name, split in splits.items()
    )
    print(f"{config.out}: {written}")
    if spec.splits:
        print(f"use it with: --data {shlex.quote(f'{config.out}/{YAML_NAME}')}")
    else:
        print(f"use it with: --unlabeled {shlex.quote(f'{config.out}/unlabeled-*.tar')}")
    return 0
