"""`effiseg evaluate`: score a model, or label PNGs of any software, on a split."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, get_args

from effiseg.commands.arguments import CommandParser, not_negative, positive
from effiseg.config.data import Resize, parse_image_size
from effiseg.config.training import Device, Protocol
from effiseg.errors import UsageError
from effiseg.progress import progress_bar
from effiseg.results import PROTOCOLS

if TYPE_CHECKING:
    from effiseg.results import EvaluationResult


def run(argv: list[str]) -> int:
    """Parse, evaluate, print the table, write the JSON file."""
    options = parse(argv)
    from effiseg.environment import describe_environment
    from effiseg.files import write_json

    with progress_bar(f"evaluating {options.split}") as progress:
        result = evaluated(options, progress)
    print_result(result)
    if options.json is not None:
        command = shlex.join(["effiseg", "evaluate", *argv])
        write_json(options.json, {**result.to_dict(), "environment": describe_environment(), "command": command})
        print(f"results: {options.json}")
    return 0


def evaluated(options: argparse.Namespace, progress: Callable[[int, int], None]) -> EvaluationResult:
    """Score MODEL, or the folder of predictions."""
    from effiseg.allocator import keep_freed_memory
    from effiseg.api import evaluate
    from effiseg.environment import resolve_device
    from effiseg.evaluation.predictions import PredictionFolder
    from effiseg.run_folder import is_exported

    workers = options.workers
    if options.predictions is not None:
        source: str | PredictionFolder = PredictionFolder(options.predictions)
        workers = workers or 0
    else:
        source = options.model
        workers = 2 if workers is None else workers
        if is_exported(options.model) or resolve_device(options.device) == "cpu":
            keep_freed_memory()
    return evaluate(
        source,
        options.data,
        options.split,
        data_root=options.data_root,
        protocol=options.protocol,
        image_size=options.image_size,
        resize=options.resize,
        batch_size=options.batch_size,
        device=options.device,
        workers=workers,
        progress=progress,
        mode=options.mode,
        window=options.window,
        stride=options.stride,
        flip=options.flip,
    )


def parse(argv: list[str]) -> argparse.Namespace:
    """The options, checked against each other.

    Raises:
        UsageError: what is wrong, in one line.
    """
    parser = CommandParser(
        prog="effiseg evaluate",
        description="IoU per class, mIoU and accuracies of a model, or of label PNGs any software wrote, "
        "on one split of a data set.",
    )
    add = parser.add_argument
    add("model", nargs="?", metavar="MODEL", help="run folder, model folder, transformers folder, Hub id, or a "
        "file that effiseg export wrote")  # fmt: skip
    add("--predictions", metavar="DIR", help="instead of MODEL: label PNGs named ID.png or ID_*.png, with "
        "the values of the data set's masks")  # fmt: skip
    add("--data", required=True, help="data set: a YAML file, or a preset with --data_root")
    add("--data_root", metavar="DIR", help="folder of the data set; replaces the YAML's path")
    add("--split", default="val", help="train, val or test (default: val)")
    add("--protocol", choices=get_args(Protocol), default="full", help="full: labels at their original size (default); "
        "quarter: labels reduced to a quarter of the network's input")  # fmt: skip
    add("--image_size", type=parse_image_size, metavar="HxW", help="network input (default: the model's own)")
    add("--resize", choices=get_args(Resize), help="how images are brought to it (default: the model's own)")
    add("--mode", choices=("whole", "slide"), default="whole", help="whole: bring images to the network's input "
        "(default); slide: keep their size, or --image_size, and move a window over them")  # fmt: skip
    add("--window", type=parse_image_size, metavar="HxW", help="slide: size of the window (default: the model's input)")
    add("--stride", type=positive, metavar="N", help="slide: pixels from window to window (default: two thirds of it)")
    add("--flip", action="store_true", help="average with the mirror image's logits; twice the work")
    add("--batch_size", type=positive, default=4, metavar="N", help="images of one forward pass (default: 4)")
    add("--device", choices=get_args(Device), default="auto", help="auto takes a GPU where there is one")
    add("--workers", type=not_negative, metavar="N", help="loader processes (default: 2); with --predictions "
        "threads (default: one a core)")  # fmt: skip
    add("--json", metavar="FILE", help="also write all results, the confusion matrix and IoU per image")
    options = parser.parse(argv, surplus="one MODEL is evaluated at a time")
    if (options.model is None) == (options.predictions is None):
        found = "neither" if options.model is None else "both"
        raise UsageError(f"give either MODEL or --predictions DIR; found {found}")
    return options


def print_result(result: EvaluationResult) -> None:
    """The table per class and the means, with what was evaluated and how beside them."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    console.print(title(result), markup=False)
    table = Table("class", box=box.SIMPLE)
    table.add_column("IoU %", justify="right")
    table.add_column("accuracy %", justify="right")
    if result.boundary_iou is not None:
        table.add_column("boundary IoU %", justify="right")
    for index, name in enumerate(result.names):
        row = result.confusion[index]
        accuracy = 100 * row[index] / sum(row) if sum(row) else None
        cells = [number(result.class_iou[name]), number(accuracy)]
        if result.boundary_iou is not None:
            cells.append(number(result.boundary_iou[name]))
        table.add_row(name, *cells)
    console.print(table, markup=False)
    console.print(
        f"mIoU {number(result.miou)} %   mean accuracy {number(result.mean_accuracy)} %   "
        f"pixel accuracy {number(result.pixel_accuracy)} %",
        markup=False,
    )
    if result.boundary_iou is not None:
        console.print(f"mean boundary IoU {number(result.boundary_miou)} %", markup=False)
    if result.miou_interval is not None:
        low, high = result.miou_interval
        console.print(f"95 % interval of mIoU over the choice of images: {low:.2f} to {high:.2f} %", markup=False)


def title(result: EvaluationResult) -> str:
    """What was evaluated, on what, and under which protocol."""
    parts = [f"{result.dataset} {result.split}", f"{result.images} images"]
    parts.append(f"protocol {result.protocol} ({PROTOCOLS[result.protocol]})")
    if result.image_size is not None:
        parts.append(f"input {result.image_size[0]}x{result.image_size[1]} {result.resize}")
    if result.inference != "whole":
        parts.append(result.inference)
    if result.form is not None:
        parts.append(result.form)
    return f"{result.model}: {', '.join(parts)}"


def number(percent: float | None) -> str:
    """Two decimals, or absent."""
    return "absent" if percent is None else f"{percent:.2f}"
