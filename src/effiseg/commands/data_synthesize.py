"""`effiseg data synthesize`: draw the embedded street scenes into a folder."""

from __future__ import annotations

import argparse
import shlex

from effiseg.commands.arguments import CommandParser, not_negative
from effiseg.config.data import parse_image_size
from effiseg.progress import progress_bar


def run(argv: list[str]) -> int:
    """Parse, draw, say where the scenes lie and how to use them."""
    options = _parse(argv)
    from effiseg.scenes.synthetic import synthesize

    counts = {"train": options.train, "val": options.val, "test": options.test}
    height, width = options.size
    with progress_bar("drawing scenes") as advance:
        drawn = synthesize(options.folder, counts, height, width, options.seed, advance)
    asked = ", ".join(f"{split} {count}" for split, count in counts.items() if count)
    state = f"{drawn} drawn now" if drawn else "all were there already"
    print(f"{options.folder}: street scenes of {height}x{width}, seed {options.seed}: {asked} ({state})")
    print(f"use them with: --data cityscapes --data_root {shlex.quote(options.folder)}")
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="effiseg data synthesize",
        description="Draw procedural street scenes with the 19 Cityscapes classes, in the Cityscapes layout. "
        "The same seed gives the same scenes. A cut run is completed by the same command.",
    )
    add = parser.add_argument
    add("folder", metavar="DIR", help="folder to write; new, empty, or one this command wrote before")
    add("--train", type=not_negative, default=600, metavar="N", help="training scenes (default: 600)")
    add("--val", type=not_negative, default=100, metavar="N", help="validation scenes (default: 100)")
    add("--test", type=not_negative, default=0, metavar="N", help="test scenes (default: 0)")
    add(
        "--size",
        type=parse_image_size,
        default=(128, 256),
        metavar="HxW",
        help="image size (default: 128x256)",
    )
    add("--seed", type=not_negative, default=0, metavar="N", help="seed of the scenes (default: 0)")
    return parser.parse(argv, surplus="one DIR is written at a time")
