"""One table in three forms, with names that try to break out of each."""

from __future__ import annotations

import csv
import shutil
import subprocess
from pathlib import Path

import pytest

from effiseg.report.table import (
    Column,
    Table,
    comma_separated,
    escape_formula,
    escape_latex,
    escape_markdown,
    latex,
    mark_best,
    markdown,
    number_cell,
    text_cell,
)

NASTY = "<script>alert(1)</script> | a_b *c* $x^2$ \\textbf{#1} 100% & ~ [x](y) `z`\nsecond"
COLUMNS = [Column("Name", "name", number=False), Column("Score", "score", "higher"), Column("Cost", "cost", "lower")]


def a_table() -> Table:
    rows = [
        [text_cell(NASTY), number_cell(1 / 3), number_cell(2.0)],
        [text_cell("=1+1"), number_cell(None), number_cell(1.0)],
    ]
    return Table("t", "Title", COLUMNS, mark_best(COLUMNS, rows, [True, True]), ["note_1 <i>"], ["item | one"])


def test_the_best_of_a_column() -> None:
    rows = [[text_cell("a"), number_cell(3.0), number_cell(5.0)], [text_cell("b"), number_cell(2.0), number_cell(4.0)],
            [text_cell("c"), number_cell(9.0), number_cell(1.0)]]  # fmt: skip
    marked = mark_best(COLUMNS, rows, [True, True, False])
    assert [[cell.best for cell in row] for row in marked] == [[False, True, False], [False, False, True], [False] * 3]
    assert not any(cell.best for row in rows for cell in row)


def test_markdown_keeps_its_columns_and_shows_names_as_they_are() -> None:
    lines = markdown(a_table()).splitlines()
    assert lines[1] == "|---|---:|---:|"
    assert "<script" not in lines[2]
    assert lines[2].replace("\\|", "").count("|") == 4
    assert "&lt;script&gt;" in lines[2]
    assert "a_b \\*c\\* \\$x^2\\$ \\\\textbf" in lines[2]
    assert "- item \\| one" in lines


def test_csv_holds_values_in_full_and_no_formula() -> None:
    header, first, second = list(csv.reader(comma_separated(a_table()).splitlines(keepends=True)))
    assert header == ["name", "score", "cost"]
    assert first == [NASTY, repr(1 / 3), "2.0"]
    assert second == ["'=1+1", "", "1.0"]


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\tx", "\rx", "\n=1"])
def test_a_formula_becomes_text(text: str) -> None:
    assert escape_formula(text) == "'" + text
    assert escape_formula("x" + text) == "x" + text


def test_latex_escapes_every_letter_with_a_meaning() -> None:
    assert escape_latex("a&b%c$d#e_f{g}h~i^j\\k") == (
        r"a\&b\%c\$d\#e\_f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k"
    )
    text = latex(a_table())
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    assert body.count(r"\\" + "\n") == 2
    assert r"\textbf{1.00}" in body


def test_latex_is_set(tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    document = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{latex(a_table())}\end{{document}}"
    (tmp_path / "t.tex").write_text(document, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=batchmode", "t.tex"], cwd=tmp_path, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0


def test_underscores_inside_words_need_no_escape() -> None:
    assert escape_markdown("keep_ratio _x_ `a`") == "keep_ratio \\_x\\_ \\`a\\`"
