"""`effiseg inspect-norms`: what every norm does to its input, and which may become DyT or DyL."""

from __future__ import annotations

import argparse
import shlex
from typing import get_args

from effiseg.commands.arguments import CommandParser, not_negative, positive
from effiseg.config.data import parse_image_size
from effiseg.config.training import Device
from effiseg.errors import UsageError
from effiseg.progress import progress_bar


def run(argv: list[str]) -> int:
    """Parse, inspect, write the files, print the verdict."""
    options = parse(argv)
    from effiseg.allocator import keep_freed_memory
    from effiseg.data.dataset_spec import load_dataset_spec
    from effiseg.environment import describe_environment, resolve_device
    from effiseg.inspection.inspector import inspect_norms
    from effiseg.inspection.writing import check_out, write_inspection
    from effiseg.models.pretrained import from_pretrained
    from effiseg.run_folder import is_exported, resolve_model

    check_out(options.out)  # before minutes of work
    resolved = resolve_model(options.model)
    if is_exported(resolved):
        raise UsageError(f"{options.model}: an exported file has no norms to look into; give the model folder")
    spec = load_dataset_spec(options.data, options.data_root)
    device = resolve_device(options.device)
    if device == "cpu":
        keep_freed_memory()
    with progress_bar("inspecting norms") as progress:
        inspection = inspect_norms(
            from_pretrained(resolved), spec, options.split, options.images, image_size=options.image_size,
            seed=options.seed, device=device, progress=progress, source=options.model,
        )  # fmt: skip
    inspection.environment = describe_environment()
    inspection.command = shlex.join(["effiseg", "inspect-norms", *argv])
    file = write_inspection(inspection, options.out)
    for sentence in inspection.verdict:
        print(sentence)
    print(f"table, figures and numbers: {file.parent}")
    return 0


def parse(argv: list[str]) -> argparse.Namespace:
    """The options.

    Raises:
        UsageError: what is wrong, in one line.
    """
    parser = CommandParser(
        prog="effiseg inspect-norms",
        description="Sample input and output of every norm of a model's encoder, fit lines and tanhs, and say which "
        "norms may become DyT and which DyL. Of DyT and DyL also: what they learnt, and how much is saturated.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="run folder, model folder, transformers folder or Hub id")
    add("--data", required=True, help="data set: a YAML file, or a preset with --data_root")
    add("--data_root", metavar="DIR", help="folder of the data set; replaces the YAML's path")
    add("--split", default="val", help="train, val or test (default: val)")
    add("--images", type=positive, default=16, metavar="N", help="images, spread evenly over the split (default: 16)")
    add("--image_size", type=parse_image_size, metavar="HxW", help="network input (default: the model's own)")
    add("--device", choices=get_args(Device), default="auto", help="auto takes a GPU where there is one")
    add("--seed", type=not_negative, default=0, metavar="N", help="of the sampled elements (default: 0)")
    add("--out", required=True, metavar="DIR", help="folder to write, new or of an earlier inspection: norms.json, "
        "norms.md, norms.csv, and the figures scatter and fits as SVG, PDF and PNG")  # fmt: skip
    return parser.parse(argv, surplus="one MODEL is inspected at a time")
