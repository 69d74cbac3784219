"""`effiseg data stats`: pixel shares per class and split, and class weights."""

from __future__ import annotations

import json
from typing import Any, get_args

from effiseg.commands.arguments import CommandParser, progress_bar
from effiseg.config.loss import ClassWeightRule

RULES: tuple[ClassWeightRule, ...] = get_args(ClassWeightRule)


def run(argv: list[str]) -> int:
    """Parse, count, print a table or JSON."""
    parser = CommandParser(
        prog="effiseg data stats",
        description="Pixel shares of the classes in every split, and class weights by every rule.",
    )
    parser.add_argument("data", metavar="DATA", help="a data set's YAML file, or a preset: camvid, cityscapes")
    parser.add_argument("--data_root", metavar="FOLDER", help="folder of the data set; replaces the YAML's path")
    parser.add_argument("--splits", metavar="A,B", help="only these splits, for example train,val")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse(argv, surplus="one DATA is counted at a time")
    report = statistics_report(options.data, options.data_root, options.splits)
    if options.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        print_tables(report)
    return 0


def statistics_report(data: str, data_root: str | None, splits: str | None) -> dict[str, Any]:
    """The command's result as plain JSON values.

    Args:
        data: YAML file or preset.
        data_root: folder of the data set.
        splits: comma-separated names; None counts all.

    Returns:
        dataset, source, names, ignore_index; splits → name → images, labelled_pixels, shares, images_with
        (both by class name), ignored_share, unlisted (raw value → pixels); class_weights → split they were
        computed from, and for every rule the weights by class name.

    Raises:
        DataError: the data set breaks a rule.
    """
    from effiseg.data.dataset_spec import load_dataset_spec
    from effiseg.data.statistics import SplitStatistics, split_statistics

    spec = load_dataset_spec(data, data_root)
    wanted = [name.strip() for name in splits.split(",")] if splits else list(spec.splits)
    counted: dict[str, SplitStatistics] = {}
    for split in wanted:
        with progress_bar(f"masks of {split}") as advance:
            counted[split] = split_statistics(spec, split, advance)
    source = "train" if "train" in counted else wanted[0]

    def by_name(values: Any) -> dict[str, Any]:
        return dict(zip(spec.names, values.tolist(), strict=True))

    return {
        "dataset": spec.name,
        "source": str(spec.source),
        "names": list(spec.names),
        "ignore_index": spec.ignore_index,
        "splits": {
            split: {
                "images": statistics.images,
                "labelled_pixels": int(statistics.class_counts.sum()),
                "shares": by_name(statistics.shares),
                "images_with": by_name(statistics.images_where_present),
                "ignored_share": statistics.ignored_share,
                "unlisted": {str(value): pixels for value, pixels in statistics.unlisted.items()},
            }
            for split, statistics in counted.items()
        },
        "class_weights": {
            "split": source,
            "rules": {rule: by_name(counted[source].class_weights(rule)) for rule in RULES},
        },
    }


def print_tables(report: dict[str, Any]) -> None:
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
    for rule in RULES:
        table.add_column(rule.replace("_", "\n"), justify="right", no_wrap=True)
    for name in report["names"]:
        shares = (f"{100 * values['shares'][name]:.3f}" for values in splits.values())
        table.add_row(escape(name), *shares, *(f"{weights['rules'][rule][name]:.3f}" for rule in RULES))
    console = Console()
    console.print(table)
    ignored = ", ".join(f"{split} {100 * values['ignored_share']:.3f} %" for split, values in splits.items())
    console.print(f"Shares are of labelled pixels; weights follow from {weights['split']}. Ignored: {ignored}.")
    for split, values in splits.items():
        if values["unlisted"]:
            found = ", ".join(f"{value} ({pixels} pixels)" for value, pixels in values["unlisted"].items())
            console.print(f"{split}: raw values that label_mapping does not list are ignored: {found}", soft_wrap=True)
