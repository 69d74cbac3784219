"""`effiseg inspect-norms`: what every norm does to its input, and which may become DyT or DyL."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from effiseg.config.command_line import parse_command
from effiseg.config.inspection import InspectionConfig
from effiseg.progress import progress_bar


@dataclass(kw_only=True)
class Options(InspectionConfig):
    """Settings of `effiseg inspect-norms`."""

    out: str
    """Folder to write, new or of an earlier inspection: norms.json, norms.md, norms.csv, and the figures scatter and
    fits as SVG, PDF and PNG."""


def run(argv: list[str]) -> int:
    """Parse, inspect, write the files, print the verdict."""
    options = parse_command(
        Options,
        argv,
        prog="effiseg inspect-norms",
        description="Sample input and output of every norm of a model's encoder, fit lines and tanhs, and say which "
        "norms may become DyT and which DyL. Of DyT and DyL also: what they learnt, and how much is saturated.",
        words=("model",),
    )
    from effiseg.api.models import inspect_as

    command = shlex.join(["effiseg", "inspect-norms", *argv])
    with progress_bar("inspecting norms") as progress:
        inspection = inspect_as(options, command, options.model, options.data, out=options.out, progress=progress)
    for sentence in inspection.verdict:
        print(sentence)
    print(f"table, figures and numbers: {options.out}")
    return 0
