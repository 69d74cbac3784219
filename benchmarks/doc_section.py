"""A part of a page that a benchmark writes, between two marks that name it."""

from __future__ import annotations

from pathlib import Path

from effiseg.files import read_text, write_text


def marks(name: str) -> tuple[str, str]:
    """The lines before and after the part that benchmarks/`name`.py writes."""
    return f"<!-- {name}: begin, written by benchmarks/{name}.py -->", f"<!-- {name}: end -->"


def section(page: Path, name: str) -> str:
    """What stands between a page's two marks."""
    begin, end = marks(name)
    return read_text(page).partition(begin)[2].partition(end)[0]


def replace_section(page: Path, name: str, text: str) -> None:
    """Put `text` between a page's two marks; the rest stays as it is."""
    begin, end = marks(name)
    before, found, rest = read_text(page).partition(begin)
    _, closed, after = rest.partition(end)
    assert found and closed, f"{page}: the marks of {name} are missing"  # noqa: PT018 - both or neither
    write_text(page, f"{before}{begin}\n{text}{end}{after}")
