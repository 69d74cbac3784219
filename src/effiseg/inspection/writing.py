"""The files of an inspection: JSON, table and figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from effiseg.errors import UsageError
from effiseg.files import write_bytes, write_json, write_text
from effiseg.inspection.figures import fits_figure, scatter_figure
from effiseg.inspection.results import NormInspection
from effiseg.inspection.table import norms_table
from effiseg.report.figures.style import FORMATS, Format, rendered
from effiseg.report.table import comma_separated, markdown

RESULTS = "norms.json"
"""The file that marks a folder as an inspection; written first, so that an interrupted writing can be done again."""


def check_out(out: str | os.PathLike[str]) -> Path:
    """The folder, which must be new, empty or an earlier inspection's.

    Raises:
        UsageError: it is a file, or holds something else.
    """
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder}: is a file; give a folder to write")
    if folder.is_dir() and not (folder / RESULTS).is_file() and any(folder.iterdir()):
        raise UsageError(f"--out {folder}: must be new or an earlier inspection; found other files; give another name")
    return folder


def write_inspection(
    inspection: NormInspection, out: str | os.PathLike[str], formats: Sequence[Format] = FORMATS
) -> Path:
    """Write norms.json, norms.md, norms.csv, scatter.* and fits.*; earlier ones are replaced.

    Args:
        inspection: what was found.
        out: see `check_out`.
        formats: of the figures.

    Returns:
        The JSON file.

    Raises:
        UsageError: see `check_out`.
    """
    folder = check_out(out)
    table = norms_table(inspection)
    figures = {"scatter": scatter_figure(inspection), "fits": fits_figure(inspection)}
    drawn = {name: rendered(figure, name, formats) for name, figure in figures.items()}
    write_json(folder / RESULTS, inspection.to_dict())
    write_text(folder / "norms.md", markdown(table))
    write_text(folder / "norms.csv", comma_separated(table))
    for name, files in drawn.items():
        for form, data in files.items():
            write_bytes(folder / f"{name}.{form}", data)
    return folder / RESULTS
