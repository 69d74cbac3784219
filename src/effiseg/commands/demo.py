"""`effiseg demo`: the whole comparison on embedded street scenes."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from effiseg.config.command_line import parse_command

DESCRIPTION = (
    "Draw street scenes, train a teacher, the baseline and every strategy on them at a small size, and print the "
    "comparison. All of them start from the weights that come with effiseg, which have seen scenes of the same "
    "generator, drawn from other seeds. Takes under ten minutes on two cores; called again it goes on where it was cut."
)


@dataclass
class _DemoConfig:
    """Settings of the demonstration."""

    out: Path = Path("effiseg-demo")
    """Folder to write."""


def run(argv: list[str]) -> int:
    """Compare, print the table and the floor under the teacher."""
    out = parse_command(_DemoConfig, argv, prog="effiseg demo", description=DESCRIPTION).out
    from effiseg.comparison.demo import demo
    from effiseg.report.results_table import results_table
    from effiseg.report.table import markdown
    from effiseg.runs import report_at_end

    command = shlex.join(["effiseg", "demo", *argv])
    result = demo(out, command=command, message=lambda text: print(text, file=sys.stderr))
    teacher = next(row for row in result.rows if row.name == "teacher")
    print(markdown(results_table(result)))
    print(
        f"The teacher scores {teacher.miou:.2f} % mIoU; always predicting the most frequent class scores "
        f"{result.settings['chance_miou']:.2f} %. All rows start from weights that know this generator (other seeds); "
        "training is too short to rank them."
    )
    comparison = out / "comparison"
    print(f"results: {comparison}/results.json, table.md, table.csv, table.tex; runs and models: {comparison}/runs")
    if (page := report_at_end(comparison)) is not None:
        print(f"report: {page}")
    return 0
