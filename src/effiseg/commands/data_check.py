"""`effiseg data check`: every fault of a data set that would spoil training, all at once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from effiseg.config.command_line import parse_command
from effiseg.config.dataset import DataCheckConfig
from effiseg.progress import progress_bar

if TYPE_CHECKING:
    from effiseg.data.check import CheckReport

SHOWN = 5
"""Findings of one kind that are printed; --json has all of them."""


@dataclass(kw_only=True)
class Options(DataCheckConfig):
    """Settings of `effiseg data check`."""

    json: bool = False
    """Print JSON with all findings instead of text."""


def run(argv: list[str]) -> int:
    """Parse, examine, print; 0 nothing but warnings, 1 faults."""
    options = parse_command(
        Options,
        argv,
        prog="effiseg data check",
        description="Decode every image and mask and name every fault that would spoil training. Exit code: 0 no "
        "faults (there may be warnings), 1 faults, 2 the check could not run.",
        words=("data",),
    )
    from effiseg.data.check import check_dataset
    from effiseg.data.picture_sources import dataset_or_pictures

    spec = dataset_or_pictures(options.data, options.data_root)
    with progress_bar("checking pairs") as advance:
        report = check_dataset(spec, advance)
    if options.json:
        print(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    else:
        print("\n".join(_report_lines(report)))
    return 1 if report.faults else 0


def _report_lines(report: CheckReport) -> list[str]:
    """The report as text: one heading a kind of finding, with the first of its findings."""
    from effiseg.data.findings import RULES

    counts = [f"{split} {count} pairs" for split, count in report.images.items()]
    pairs = ", ".join([*counts, *([f"{report.unlabeled} unlabeled pictures"] if report.unlabeled else [])])
    lines = [f"{report.spec.source}: {pairs}"]
    for (severity, kind), group in groupby(
        sorted(report.findings, key=lambda f: f.severity), key=lambda f: (f.severity, f.kind)
    ):
        found = list(group)
        title = RULES[kind].title
        if kind == "absent_class" and severity == "warning":
            title = "classes that never occur in a split"
        lines += ["", f"{severity}: {title} ({len(found)})"]
        lines += [f"  {finding.message}" for finding in found[:SHOWN]]
        if len(found) > SHOWN:
            lines.append(f"  … and {len(found) - SHOWN} more (--json lists all)")
    lines += ["", f"{_count(len(report.faults), 'fault')}, {_count(len(report.warnings), 'warning')}"]
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
