"""`effiseg report`: what runs and comparisons wrote, as one page, figures and tables."""

from __future__ import annotations

import sys
from typing import get_args

from effiseg.commands.arguments import CommandParser


def run(argv: list[str]) -> int:
    """Parse, draw, print where the page lies."""
    parser = CommandParser(
        prog="effiseg report",
        description="Draw runs and comparisons: one self-contained page, every figure as SVG, PDF and PNG, every table "
        "as Markdown, CSV and LaTeX. Runs may still be going: what is there is drawn, what is missing is named.",
    )
    from effiseg.visualization.palettes import ClassColours

    add = parser.add_argument
    add("paths", nargs="+", metavar="RUN_OR_ABLATION", help="run folders, comparison folders or their results.json, "
        "files of `effiseg evaluate --json`")  # fmt: skip
    add("--out", required=True, metavar="DIR", help="folder to write: index.html, figures/, tables/")
    add("--colours", choices=get_args(ClassColours), default="dataset", help="of classes in pictures: the data set's "
        "own (default), or ones that stay apart for colour-blind readers")  # fmt: skip
    options = parser.parse(argv)
    from effiseg.report.page import write_report

    report = write_report(options.paths, options.out, options.colours)
    for gap in report.gaps:
        print(f"missing: {gap}", file=sys.stderr)
    print(f"report: {report.page}")
    return 0
