"""A table once, written as Markdown, CSV and LaTeX; names from data are escaped in each of them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

Value = str | int | float | None


@dataclass(frozen=True)
class Cell:
    """One cell: what is shown, and the value behind it."""

    text: str
    """Text that a reader sees."""
    value: Value
    """Value to sort by, written in full precision to CSV."""
    best: bool = False
    """Whether it is the best of its column."""


@dataclass(frozen=True)
class Column:
    """The head of a column."""

    title: str
    """Text that a reader sees."""
    key: str
    """Name in CSV."""
    better: Literal["higher", "lower"] | None = None
    """Which value is the best one; None marks none."""
    tolerance: float = 0.0
    """Share of the best value by which others may differ and still be equally good."""
    number: bool = True
    """Whether it holds numbers, which stand at the right."""


@dataclass(frozen=True)
class Table:
    """Rows of cells with what is to be known about them."""

    name: str
    """Stem of its files."""
    title: str
    """Its subject."""
    columns: list[Column]
    """Heads, in order."""
    rows: list[list[Cell]]
    """Each as long as `columns`."""
    notes: list[str] = field(default_factory=list)
    """Paragraphs under the table: protocol, caveats."""
    items: list[str] = field(default_factory=list)
    """A list under the notes."""


def number_cell(value: float | None, form: str = ".2f", text: str | None = None) -> Cell:
    """A number with so many decimals; a dash where there is none."""
    return Cell("–" if value is None else text or f"{value:{form}}", value)


def text_cell(text: str, value: Value = None) -> Cell:
    """A text, sorted by `value` where it is given."""
    return Cell(text, text if value is None else value)


def mark_best(columns: Sequence[Column], rows: list[list[Cell]], among: Sequence[bool]) -> list[list[Cell]]:
    """Mark the best cell of every column that has a better end.

    Args:
        columns: heads.
        rows: cells.
        among: for each row whether it takes part (a teacher does not compete with its students).

    Returns:
        New rows. What reads the same, or differs by no more than the column's tolerance, is equally good; a column in
        which all competitors are equally good has no best.
    """
    marked = [list(row) for row in rows]
    for index, column in enumerate(columns):
        cells = [row[index] for row, takes_part in zip(rows, among, strict=True) if takes_part]
        numbers: dict[int | float, str] = {
            cell.value: cell.text for cell in cells if isinstance(cell.value, int | float)
        }
        if column.better is None or not numbers:
            continue
        best = max(numbers) if column.better == "higher" else min(numbers)
        equal = {text for value, text in numbers.items() if abs(value - best) <= column.tolerance * abs(best)}
        if equal >= set(numbers.values()):
            continue
        for row, takes_part in zip(marked, among, strict=True):
            if takes_part and row[index].text in equal:
                row[index] = replace(row[index], best=True)
    return marked


def markdown(table: Table) -> str:
    """The table and its notes; a best cell is bold."""
    lines = ["| " + " | ".join(escape_markdown(column.title) for column in table.columns) + " |"]
    lines.append("|" + "|".join("---:" if column.number else "---" for column in table.columns) + "|")
    for row in table.rows:
        cells = [escape_markdown(cell.text) for cell in row]
        cells = [f"**{text}**" if cell.best else text for cell, text in zip(row, cells, strict=True)]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [line for note in table.notes for line in ("", escape_markdown(note))]
    lines += [""] * bool(table.items) + [f"- {escape_markdown(item)}" for item in table.items]
    return "\n".join(lines) + "\n"


def comma_separated(table: Table) -> str:
    """The values behind the cells in full precision; empty where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([escape_formula(column.key) for column in table.columns])
    for row in table.rows:
        writer.writerow([escape_formula(cell.value) if isinstance(cell.value, str) else cell.value for cell in row])
    return text.getvalue()


def latex(table: Table) -> str:
    """A booktabs table with its notes under it; a best cell is bold."""
    alignment = "".join("r" if column.number else "l" for column in table.columns)
    heads = " & ".join(escape_latex(column.title) for column in table.columns)
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(table.title)}}}",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        rf"{heads} \\",
        r"\midrule",
    ]
    for row in table.rows:
        cells = [escape_latex(cell.text) for cell in row]
        cells = [rf"\textbf{{{text}}}" if cell.best else text for cell, text in zip(row, cells, strict=True)]
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = [*table.notes, *(["; ".join(table.items) + "."] if table.items else [])]
    lines += [rf"\par\smallskip\footnotesize {escape_latex(note)}" for note in notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def escape_markdown(text: str) -> str:
    """Text that Markdown, and the HTML inside it, shows as it is, on one line."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|~$]|(?<!\w)_|_(?!\w))", r"\\\1", text)


def escape_formula(text: str) -> str:
    """Text that a spreadsheet does not take for a formula (OWASP's rule: an apostrophe before it)."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "Δ": r"$\Delta$", "±": r"$\pm$", "×": r"$\times$", "−": "$-$",
    "–": "--", "→": r"$\rightarrow$",
}  # fmt: skip


def escape_latex(text: str) -> str:
    """Text that LaTeX sets as it is, on one line."""
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))
