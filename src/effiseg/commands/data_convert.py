"""`effiseg data convert`: write any data set as the plain layout."""

from __future__ import annotations

import shlex

from effiseg.config.command_line import parse_command
from effiseg.config.dataset import DataConvertConfig
from effiseg.progress import progress_bar


def run(argv: list[str]) -> int:
    """Parse, convert, say what was written and how to use it."""
    config = parse_command(
        DataConvertConfig,
        argv,
        prog="effiseg data convert",
        description="Write a data set of any format as images/SPLIT, labels/SPLIT (palette PNGs of class indices) and "
        "data.yaml, which trains as the original does. The folder appears when it is whole.",
        words=("data",),
    )
    from effiseg.data.convert import YAML_NAME, convert_dataset
    from effiseg.data.dataset_spec import load_dataset_spec

    spec = load_dataset_spec(config.data, config.data_root)
    with progress_bar("converting", log_seconds=30) as advance:
        counts = convert_dataset(spec, config.out, link=config.link, progress=advance)
    written = ", ".join(f"{split} {count}" for split, count in counts.items())
    print(f"{config.out}: {written}, {spec.num_classes} classes")
    print(f"use it with: --data {shlex.quote(f'{config.out}/{YAML_NAME}')}")
    return 0
