"""Style of all figures: fonts, colours that the page can exchange, how rows look, and the files."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from effiseg.report.row_titles import BASELINE, is_teacher
from effiseg.report.study import Study
from effiseg.visualization.palettes import BASELINE_COLOUR, ROW_COLOURS

# Three unusual values, which the page exchanges for its own in light and in dark.
INK = "#16181b"
GRID = "#d9dbde"
SURFACE = "#fefefd"
_VARIABLES = {INK: "var(--ink)", GRID: "var(--grid)", SURFACE: "var(--surface)"}

WIDTH = 5.6
"""Inches; a figure is as wide as a phone shows it with letters that can be read."""
Format = Literal["svg", "pdf", "png"]
FORMATS: tuple[Format, ...] = ("svg", "pdf", "png")
_DPI = 200
_MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">")
STYLE: Any = {
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 8.5,
    "axes.titlesize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "figure.facecolor": SURFACE,
    "savefig.facecolor": SURFACE,
    "text.parse_math": False,  # a class may be called $x$
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "svg.fonttype": "none",  # letters stay letters: they can be searched, read aloud and are of any script
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class RowStyle:
    """How a row looks in every figure."""

    colour: str
    marker: str
    dashes: str


class Gap(Exception):  # noqa: N818 - not an error: there is nothing to draw yet
    """A figure cannot be drawn from what is there; the message says what is missing."""


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of so many inches; call it, and draw, inside `rc_context(STYLE)`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def row_styles(study: Study) -> dict[str, RowStyle]:
    """A style for every row: teachers dashed in ink, the baseline grey, the others by their place."""
    styles: dict[str, RowStyle] = {}
    for name in study.order:
        if is_teacher(name):
            styles[name] = RowStyle(INK, "*", "--")
        elif name == BASELINE:
            styles[name] = RowStyle(BASELINE_COLOUR, "o", "-")
        else:
            place = sum(not is_teacher(row) and row != BASELINE for row in styles)
            styles[name] = RowStyle(
                ROW_COLOURS[place % len(ROW_COLOURS)], _MARKERS[place % len(_MARKERS)], ("-", ":")[place // 8 % 2]
            )
    return styles


def place_legend(figure: Figure, axes: Axes, columns: int = 3) -> None:
    """The legend of `axes` under the figure."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(handles)))


def rendered(figure: Figure, name: str, formats: Sequence[Format] = FORMATS) -> dict[str, bytes]:
    """The figure in every format; the same figure gives the same bytes.

    The layout is found once, and each file is one drawing: `savefig` would find it again and draw twice.

    Args:
        figure: what to draw.
        name: makes the ids inside the SVG differ from other figures'.
        formats: which.
    """
    files: dict[str, bytes] = {}
    with rc_context({**STYLE, "svg.hashsalt": name}):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for form in formats:
            stream = io.BytesIO()
            canvas: Any  # matplotlib's printing functions have no types
            match form:
                case "svg":
                    canvas = FigureCanvasSVG(figure)
                    canvas.print_svg(stream, metadata={"Date": None})
                case "pdf":
                    canvas = FigureCanvasPdf(figure)
                    canvas.print_pdf(stream, metadata={"CreationDate": None})
                case "png":
                    figure.set_dpi(_DPI)
                    canvas = FigureCanvasAgg(figure)
                    canvas.print_png(stream)
            files[form] = stream.getvalue()
    return files


def inline_svg(data: bytes, name: str, title: str) -> str:
    """An SVG file as an element of the page: its ink, grid and surface are the page's variables.

    Args:
        data: the file, as `rendered` gives it.
        name: makes the ids of its parts unique on the page.
        title: read aloud in place of the picture.
    """
    text = data.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text)
    head = re.match(r"<svg[^>]*>", text)
    assert head is not None
    box = re.search(r'viewBox="[^"]*"', head[0])
    assert box is not None
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {box[0]} '
        f'role="img" aria-label="{escape(title)}">'
    )
    return opening + text[head.end() :].strip()
