"""The report: one page that needs nothing else, and every figure and table as files beside it."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from effiseg.config.publishing import ClassColors
from effiseg.errors import UsageError
from effiseg.files import write_bytes, write_text
from effiseg.report.answer import answer
from effiseg.report.figures.style import FORMATS, Format, inline_svg, rendered
from effiseg.report.noise import study_differences
from effiseg.report.reading import read_studies
from effiseg.report.results_table import protocol_text
from effiseg.report.sections import Section, build_sections, slug
from effiseg.report.study import Study
from effiseg.report.table import comma_separated, latex, markdown
from effiseg.visualization.palettes import Colour, colour_blind_safe_palette

PICTURE_BYTES = 6_000_000
"""Most bytes of pictures on a page, which is to stay under 10 MB."""


@dataclass(frozen=True)
class Report:
    """Files that were written."""

    page: Path
    """The page."""
    gaps: list[str]
    """Gaps: figures that could not be drawn, and why."""


@dataclass(frozen=True)
class StudyOnPage:
    """A study, its sections and the beginning of its files' names."""

    study: Study
    sections: list[Section]
    prefix: str
    answer: list[str]
    """Sentences that say what came of it."""
    inline: dict[str, str] = field(default_factory=dict)
    """Drawing's name → its SVG element."""


def write_report(
    paths: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    colors: ClassColors = "dataset",
    formats: Sequence[Format] = FORMATS,
    *,
    colours: ClassColors | None = None,
) -> Report:
    """Read runs and comparisons, draw what is there, write index.html, figures/ and tables/.

    Args:
        paths: see `read_studies`.
        out: folder to write; files of an earlier report are replaced, index.html last.
        colors: of classes in pictures: the data set's, or ones that are safe for color-blind readers.
        formats: of the figures beside the page; svg is always among them.
        colours: the former name of `colors`.

    Raises:
        UsageError: a path is no run, comparison or results file, or `out` is a file.
    """
    if colours is not None:
        print("effiseg.write_report: colours is now colors", file=sys.stderr)
        colors = colours
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder}: is a file; give a folder to write")
    studies = read_studies(paths)
    pages: list[StudyOnPage] = []
    for number, study in enumerate(studies, 1):
        differences, gaps = ([], []) if study.single else study_differences(study)
        study.gaps += gaps
        sections = build_sections(study, differences, _class_palette(study, colors), PICTURE_BYTES // len(studies))
        prefix = f"{number}-{slug(study.title)}-" if len(studies) > 1 else ""
        pages.append(StudyOnPage(study, sections, prefix, answer(study, differences)))
    for page in pages:
        _write_files(page, folder, formats)
    write_text(folder / "index.html", _render(pages, formats))
    return Report(folder / "index.html", [gap for study in studies for gap in study.gaps])


def _class_palette(study: Study, colors: ClassColors) -> list[Colour]:
    """A colour for every class in pictures; the safe ones also where the data set has none."""
    count = len(study.samples.names) if study.samples is not None else len(study.names)
    own = study.samples.palette if study.samples is not None else study.result.dataset.get("palette", [])
    if colors == "safe" or len(own) != count:
        return list(colour_blind_safe_palette(count)) if count else []
    return [(int(r), int(g), int(b)) for r, g, b in own]


def _write_files(page: StudyOnPage, folder: Path, formats: Sequence[Format]) -> None:
    """Write every figure in all formats, every table as Markdown, CSV and LaTeX; keep the SVGs for the page."""
    for section in page.sections:
        for drawing in section.all_drawings:
            name = page.prefix + drawing.name
            files = rendered(drawing.figure, name, formats)
            for form, data in files.items():
                write_bytes(folder / "figures" / f"{name}.{form}", data)
            if drawing.on_page:
                page.inline[drawing.name] = inline_svg(files["svg"], name, drawing.title)
        for table in section.tables:
            stem = folder / "tables" / f"{page.prefix}{table.name}"
            write_text(f"{stem}.md", markdown(table))
            write_text(f"{stem}.csv", comma_separated(table))
            write_text(f"{stem}.tex", latex(table))


def _render(pages: list[StudyOnPage], formats: Sequence[Format]) -> str:
    """The page. Everything from data is escaped by Jinja, or by matplotlib inside figures.

    The policy in its head lets a browser load nothing and run no script but this one, whatever a name holds.
    """
    environment = Environment(
        loader=PackageLoader("effiseg.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    has_charts = any(section.charts for page in pages for section in page.sections)
    library = [_template_file(f"uPlot/uPlot.{end}") for end in ("iife.min.js", "min.css")] if has_charts else ["", ""]
    script, style = f"{library[0]}\n{_template_file('page.js')}", f"{library[1]}\n{_template_file('page.css')}"
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    values: dict[str, Any] = {
        "pages": pages,
        "script": Markup(script),
        "style": Markup(style),
        "policy": f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
        "svg": lambda page, drawing: Markup(page.inline[drawing.name]),
        "protocol": protocol_text,
        "formats": formats,
    }
    return environment.get_template("page.html.j2").render(values)


def _template_file(name: str) -> str:
    """A file that ships beside the template."""
    return (resources.files("effiseg.report") / "template" / name).read_text(encoding="utf-8")
