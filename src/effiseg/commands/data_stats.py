"""`effiseg data stats`: pixel shares per class and split, and class weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from effiseg.config.command_line import parse_command
from effiseg.config.dataset import DataStatisticsConfig
from effiseg.progress import progress_bar

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(kw_only=True)
class Options(DataStatisticsConfig):
    """Settings of `effiseg data stats`."""

    json: bool = False
    """Print JSON instead of tables."""


def run(argv: list[str]) -> int:
    """Parse, count, print a table or JSON."""
    options = parse_command(
        Options,
        argv,
        prog="effiseg data stats",
        description="Pixel shares of the classes in every split, and class weights by every rule.",
        words=("data",),
    )
    from effiseg.data.dataset_spec import load_dataset_spec
    from effiseg.data.dataset_statistics import dataset_statistics

    report = dataset_statistics(options, load_dataset_spec(options.data, options.data_root), progress_bar)
    if options.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _print_tables(report)
    return 0


def _print_tables(report: dict[str, Any]) -> None:
    """Shares of every split and weights of every rule, one line a class."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    splits, weights = report["splits"], report["class_weights"]
    counts = ", ".join(f"{split} {values['images']} images" for split, values in splits.items())
    table = Table(title=f"{report['dataset']}: {counts}")
    table.add_column("class", no_wrap=True)
    for split in splits:
        table.add_column(f"{split} %", justify="right")
    for rule in weights["rules"]:
        table.add_column(rule.replace("_", "\n"), justify="right", no_wrap=True)
    for name in report["names"]:
        shares = (f"{100 * values['shares'][name]:.3f}" for values in splits.values())
        table.add_row(escape(name), *shares, *(f"{weights['rules'][rule][name]:.3f}" for rule in weights["rules"]))
    console = Console()
    console.print(table)
    ignored = ", ".join(f"{split} {100 * values['ignored_share']:.3f} %" for split, values in splits.items())
    console.print(f"Shares are of labelled pixels; weights follow from {weights['split']}. Ignored: {ignored}.")
    for split, values in splits.items():
        if values["unlisted"]:
            found = ", ".join(f"{value} ({pixels} pixels)" for value, pixels in values["unlisted"].items())
            console.print(f"{split}: raw values that label_mapping does not list are ignored: {found}", soft_wrap=True)
    if report["crops"] is not None:
        _print_crops(report["names"], report["crops"], console)


def _print_crops(names: list[str], crops: dict[str, Any], console: Console) -> None:
    """Shares that each sampler lets training see, one line a class."""
    from rich.markup import escape
    from rich.table import Table

    height, width = crops["image_size"]
    table = Table("class", title=f"{crops['number']} training crops of {height}x{width}, augment {crops['augment']}")
    for sampler in crops["shares"]:
        table.add_column(f"{sampler} %", justify="right", no_wrap=True)
    for name in names:
        table.add_row(escape(name), *(f"{100 * shares[name]:.3f}" for shares in crops["shares"].values()))
    console.print(table)
