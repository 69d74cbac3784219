"""`effiseg ablate`: the comparison, resumable."""

from __future__ import annotations

from effiseg.commands.loading import load_training
from effiseg.config.command_help import Command
from effiseg.config.command_line import parse_layers, resolve
from effiseg.config.comparison import AblationConfig
from effiseg.messages import notice
from effiseg.nested import merge_settings

DESCRIPTION = (
    "Train a teacher (unless given) and every row under one loop, metric and budget, evaluate them on one split, "
    "and write results.json, the table and a report. Any training option holds for every row. Started again in "
    "the same folder, it skips what is finished and goes on where it was cut."
)
EXAMPLE = "effiseg ablate --data my.yaml --recipes baseline,kd,combined --epochs 50 --out runs/comparison"


def run(argv: list[str]) -> int:
    """Parse, compare, print the table."""
    layers = parse_layers(AblationConfig, argv, Command("effiseg ablate", DESCRIPTION, example=EXAMPLE))
    config = resolve(AblationConfig, layers, argv)
    shared = merge_settings({}, *(settings for _, settings in layers))
    notice(f"{len(config.recipes)} rows on {config.data or 'no data yet'}")
    load_training()
    from effiseg.runs import compare

    comparison = compare(config, shared)
    print(comparison.table())
    out = comparison.path
    print(f"results: {out}/results.json, table.md, table.csv, table.tex; runs and models: {out}/runs")
    if comparison.report is not None:
        print(f"report: {comparison.report}")
    return 0
