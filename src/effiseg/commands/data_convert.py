"""`effiseg data convert`: write any data set as the plain layout."""

from __future__ import annotations

import shlex

from effiseg.commands.arguments import CommandParser
from effiseg.progress import progress_bar


def run(argv: list[str]) -> int:
    """Parse, convert, say what was written and how to use it."""
    parser = CommandParser(
        prog="effiseg data convert",
        description="Write a data set of any format as images/SPLIT, labels/SPLIT (palette PNGs of class indices) and "
        "data.yaml, which trains as the original does. The folder appears when it is whole.",
    )
    add = parser.add_argument
    add("data", metavar="DATA", help="a data set's YAML file, or a preset's name")
    add("--data_root", metavar="FOLDER", help="folder of the data set; replaces the YAML's path")
    add("--out", metavar="DIR", required=True, help="folder to write; new or empty")
    add("--link", action="store_true", help="symbolic links to the images instead of copies")
    options = parser.parse(argv, surplus="one DATA is converted at a time")

    from effiseg.data.convert import YAML_NAME, convert_dataset
    from effiseg.data.dataset_spec import load_dataset_spec

    spec = load_dataset_spec(options.data, options.data_root)
    with progress_bar("converting", log_seconds=30) as advance:
        counts = convert_dataset(spec, options.out, link=options.link, progress=advance)
    written = ", ".join(f"{split} {count}" for split, count in counts.items())
    print(f"{options.out}: {written}, {spec.num_classes} classes")
    print(f"use it with: --data {shlex.quote(f'{options.out}/{YAML_NAME}')}")
    return 0
