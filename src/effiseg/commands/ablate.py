"""`effiseg ablate`: the comparison, resumable."""

from __future__ import annotations

from effiseg.config.command_line import parse_layers, resolve
from effiseg.config.comparison import AblationConfig
from effiseg.nested import merge_settings

DESCRIPTION = (
    "Train a teacher (unless given) and every row under one loop, metric and budget, evaluate them on one split, "
    "and write results.json, the table and a report. Any training option holds for every row. Started again in "
    "the same folder, it skips what is finished and goes on where it was cut."
)


def run(argv: list[str]) -> int:
    """Parse, compare, print the table."""
    layers = parse_layers(AblationConfig, argv, prog="effiseg ablate", description=DESCRIPTION)
    config = resolve(AblationConfig, layers, argv)
    shared = merge_settings({}, *(settings for _, settings in layers))
    from effiseg.runs import compare

    comparison = compare(config, shared)
    print(comparison.table())
    print(f"results: {config.out}/results.json, table.md, table.csv, table.tex; runs and models: {config.out}/runs")
    if comparison.report is not None:
        print(f"report: {comparison.report}")
    return 0
