"""`effiseg data stats`: pixel shares per class and split, and class weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

from effiseg.commands.arguments import CommandParser
from effiseg.config.data import parse_image_size
from effiseg.config.loss import ClassWeightRule
from effiseg.config.training import SamplerName, TrainConfig
from effiseg.progress import progress_bar

if TYPE_CHECKING:
    from rich.console import Console

    from effiseg.data.dataset_spec import DatasetSpec

CROPS = 1000
"""Crops from which the samplers' shares are counted."""
RULES: tuple[ClassWeightRule, ...] = get_args(ClassWeightRule)


def run(argv: list[str]) -> int:
    """Parse, count, print a table or JSON."""
    parser = CommandParser(
        prog="effiseg data stats",
        description="Pixel shares of the classes in every split, and class weights by every rule.",
    )
    parser.add_argument("data", metavar="DATA", help="a data set's YAML file, or a preset's name (docs/datasets.md)")
    parser.add_argument("--data_root", metavar="FOLDER", help="folder of the data set; replaces the YAML's path")
    parser.add_argument("--splits", metavar="A,B", help="only these splits, for example train,val")
    defaults = TrainConfig()
    parser.add_argument(
        "--image_size",
        type=parse_image_size,
        default=defaults.input_size,
        metavar="HxW",
        help=f"network input whose crops show what the sampler rare_class does (default: {defaults.image_size})",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse(argv, surplus="one DATA is counted at a time")
    report = statistics_report(options.data, options.data_root, options.splits, options.image_size)
    if options.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        print_tables(report)
    return 0


def statistics_report(
    data: str, data_root: str | None, splits: str | None, image_size: tuple[int, int]
) -> dict[str, Any]:
    """The command's result as plain JSON values.

    Args:
        data: YAML file or preset.
        data_root: folder of the data set.
        splits: comma-separated names; None counts all.
        image_size: (height, width) of the network's input, for the samplers' crops.

    Returns:
        dataset, source, names, ignore_index; splits → name → images, labelled_pixels, shares, images_with
        (both by class name), ignored_share, unlisted (raw value → pixels); class_weights → split they were
        computed from, and for every rule the weights by class name; crops (null without train) → number, image_size,
        augment, and for every sampler the share of each class in its crops.

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
        "crops": None
        if source != "train"
        else {
            "number": CROPS,
            "image_size": list(image_size),
            "augment": TrainConfig().augment,
            "shares": {name: by_name(shares) for name, shares in sampler_shares(spec, image_size).items()},
        },
    }


def sampler_shares(spec: DatasetSpec, image_size: tuple[int, int]) -> dict[SamplerName, Any]:
    """Sampler → (K,) share of each class in the first crops that it lets training see."""
    from effiseg.data.crop_shares import crop_shares
    from effiseg.data.mask_counts import count_masks
    from effiseg.data.rare_class_sampler import RareClassSampler
    from effiseg.data.samples import list_samples
    from effiseg.data.transforms import TrainingTransform

    config = TrainConfig()
    samples = list_samples(spec, "train")
    with progress_bar("masks of train") as advance:
        rare = RareClassSampler(count_masks(spec, samples, advance).classes, config.seed)
    knobs = config.augmentation.filled_from(config.augment)
    transform = TrainingTransform(image_size, config.resize, knobs, spec.ignore_index)
    shares: dict[SamplerName, Any] = {}
    chosen: dict[SamplerName, RareClassSampler | None] = {"uniform": None, "rare_class": rare}
    for name, sampler in chosen.items():
        with progress_bar(f"crops of {name}") as advance:
            shares[name] = crop_shares(spec, samples, transform, sampler, config.seed, CROPS, advance)
    return shares


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
    if report["crops"] is not None:
        print_crops(report["names"], report["crops"], console)


def print_crops(names: list[str], crops: dict[str, Any], console: Console) -> None:
    """What each sampler lets training see, one line a class."""
    from rich.markup import escape
    from rich.table import Table

    height, width = crops["image_size"]
    table = Table("class", title=f"{crops['number']} training crops of {height}x{width}, augment {crops['augment']}")
    for sampler in crops["shares"]:
        table.add_column(f"{sampler} %", justify="right", no_wrap=True)
    for name in names:
        table.add_row(escape(name), *(f"{100 * shares[name]:.3f}" for shares in crops["shares"].values()))
    console.print(table)
