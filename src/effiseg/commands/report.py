"""`effiseg report`: what runs and comparisons wrote, as one page, figures and tables."""

from __future__ import annotations

import sys

from effiseg.config.command_line import parse_command
from effiseg.config.publishing import ReportConfig
from effiseg.messages import notice
from effiseg.run_folder import output_folder


def run(argv: list[str]) -> int:
    """Parse, draw, print where the page lies."""
    config = parse_command(
        ReportConfig,
        argv,
        prog="effiseg report",
        description="Draw runs and comparisons: one self-contained page, every figure as SVG, PDF and PNG, every table "
        "as Markdown, CSV and LaTeX. Runs may still be going: what is there is drawn, what is missing is named.",
        words=("paths",),
    )
    notice(f"reading {', '.join(config.paths)}")
    from effiseg.report.page import write_report

    with output_folder(config.out, "report") as out:
        report = write_report(config.paths, out, config.colors)
    for gap in report.gaps:
        print(f"missing: {gap}", file=sys.stderr)
    print(f"report: {report.page}")
    return 0
