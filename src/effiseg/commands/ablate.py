"""`effiseg ablate`: the comparison, resumable."""

from __future__ import annotations

from effiseg.config.comparison import AblationConfig
from effiseg.config.parsing import make_settings, merge_settings, parse_command, parse_layers

DESCRIPTION = (
    "Train a teacher (unless given) and every row under one loop, metric and budget, evaluate them on one split, "
    "and write results.json, the table and a report. Any training option holds for every row. Started again in "
    "the same folder, it skips what is finished and goes on where it was cut."
)


def run(argv: list[str]) -> int:
    """Parse, compare, print the table."""
    prog = "effiseg ablate"
    if "--print_config" in argv:
        parse_command(AblationConfig, argv, prog=prog, description=DESCRIPTION)
    layers = parse_layers(AblationConfig, argv, prog=prog, description=DESCRIPTION)
    config = make_settings(AblationConfig, *layers)
    shared: dict[str, object] = {}
    for _, settings in layers:
        shared = merge_settings(shared, settings)
    from effiseg.runs import compare

    comparison = compare(config, shared)
    print(comparison.table())
    print(f"results: {config.out}/results.json, table.md, table.csv, table.tex; runs and models: {config.out}/runs")
    if comparison.report is not None:
        print(f"report: {comparison.report}")
    return 0
