"""`effiseg demo`: the whole comparison on embedded street scenes."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from effiseg.errors import UsageError

HELP = """usage: effiseg demo [--out DIR]

Draw street scenes, train a teacher, the baseline and every strategy on them at a small size, and print the
comparison. Takes under ten minutes on two cores; called again it goes on where it was cut.

options:
  --out DIR   folder to write (default: effiseg-demo)"""


def run(argv: list[str]) -> int:
    """Compare, print the table and the floor under the teacher."""
    if argv in (["-h"], ["--help"]):
        print(HELP)
        return 0
    out = Path(output_folder(argv))
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
        f"{result.settings['chance_miou']:.2f} %."
    )
    comparison = out / "comparison"
    print(f"results: {comparison}/results.json, table.md, table.csv, table.tex; runs and models: {comparison}/runs")
    if (page := report_at_end(comparison)) is not None:
        print(f"report: {page}")
    return 0


def output_folder(argv: list[str]) -> str:
    """DIR of `--out DIR`, or its default.

    Raises:
        UsageError: anything else on the command line.
    """
    words = [part for word in argv for part in (word.split("=", 1) if word.startswith("--out=") else [word])]
    if not words:
        return "effiseg-demo"
    if len(words) == 2 and words[0] == "--out":
        return words[1]
    raise UsageError(f"the only option is --out DIR; found {shlex.join(argv)}")
