"""The report that a command writes at its end."""

from __future__ import annotations

import sys
from pathlib import Path


def report_at_end(folder: str | Path, *, quick: bool = False) -> None:
    """Write FOLDER/report and print where the page lies. Whatever goes wrong costs the report, never the work.

    Args:
        folder: the run or comparison.
        quick: no PDF and PNG beside the page, which take most of the time.
    """
    try:
        from effiseg.report.figures.style import FORMATS
        from effiseg.report.page import write_report

        report = write_report([folder], Path(folder) / "report", formats=("svg",) if quick else FORMATS)
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"no report was written: {text}; `effiseg report {folder} --out DIR` tries again", file=sys.stderr)
    else:
        print(f"report: {report.page}")
