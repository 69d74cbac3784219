"""`effiseg evaluate`: score a model, or label PNGs of any software, on a split."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from effiseg.commands.loading import load_pytorch
from effiseg.config.command_line import parse_command
from effiseg.config.evaluation import EvaluationConfig
from effiseg.config.parsing import settings_dict
from effiseg.messages import notice
from effiseg.progress import progress_bar
from effiseg.results import PROTOCOLS

if TYPE_CHECKING:
    from effiseg.results import EvaluationResult


@dataclass(kw_only=True)
class Options(EvaluationConfig):
    """Settings of `effiseg evaluate`."""

    json: str | None = None
    """File to write all results to, with the confusion matrix and IoU per image."""


def run(argv: list[str]) -> int:
    """Parse, evaluate, print the table, write the JSON file."""
    options = parse_command(
        Options,
        argv,
        prog="effiseg evaluate",
        description="IoU per class, mIoU and accuracies of a model, or of label PNGs any software wrote, "
        "on one split of a data set.",
        words=("model",),
    )
    notice(f"{options.split} of {options.data}")
    load_pytorch()
    from effiseg.allocator import keep_freed_memory
    from effiseg.environment import describe_environment, resolve_device
    from effiseg.files import require_place, write_json
    from effiseg.operations import evaluate_as
    from effiseg.run_folder import is_exported

    if options.json is not None:
        require_place(options.json)
    if options.model is not None and (is_exported(options.model) or resolve_device(options.device) == "cpu"):
        keep_freed_memory()
    with progress_bar(f"evaluating {options.split}") as progress:
        result = evaluate_as(options, options.model, options.data, progress)
    print_result(result)
    if result.parameters is not None:
        print(f"{result.parameters / 1e6:.2f} M parameters")
    if options.json is not None:
        command = {"command": shlex.join(["effiseg", "evaluate", *argv]), "settings": settings_dict(options)}
        write_json(options.json, {**result.to_dict(), "environment": describe_environment(), **command})
        print(f"{'results:':<8} {options.json}")
    if options.model is not None:
        print_next(f"effiseg predict {shlex.quote(options.model)} IMAGES")
    return 0


def print_next(*commands: str) -> None:
    """Commands that go on from here, one below the other."""
    for number, command in enumerate(commands):
        print(f"{'next:' if number == 0 else '':<8} {command}")


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
    """The model, data and protocol of an evaluation."""
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
