"""`effiseg data synthesize`: draw the embedded street scenes into a folder."""

from __future__ import annotations

import shlex

from effiseg.config.command_line import parse_command
from effiseg.config.dataset import SynthesizeConfig
from effiseg.progress import progress_bar


def run(argv: list[str]) -> int:
    """Parse, draw, say where the scenes lie and how to use them."""
    config = parse_command(
        SynthesizeConfig,
        argv,
        prog="effiseg data synthesize",
        description="Draw procedural street scenes with the 19 Cityscapes classes, in the Cityscapes layout. "
        "The same seed gives the same scenes. A cut run is completed by the same command.",
        words=("folder",),
    )
    from effiseg.scenes.synthetic import synthesize

    height, width = config.size
    with progress_bar("drawing scenes") as progress:
        drawn = synthesize(config.folder, config.counts, height, width, config.seed, progress)
    asked = ", ".join(f"{split} {count}" for split, count in config.counts.items() if count)
    state = f"{drawn} drawn now" if drawn else "all were there already"
    print(f"{config.folder}: street scenes of {height}x{width}, seed {config.seed}: {asked} ({state})")
    print(f"use them with: --data cityscapes --data_root {shlex.quote(config.folder)}")
    return 0
