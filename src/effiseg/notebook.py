"""What notebooks show of results: small tables in HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def html_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a line above it; None is shown as "absent", and floats have two decimals.

    Args:
        title: the line.
        header: the columns' names; empty: no row of names.
        rows: the cells.
    """

    def cell(value: object) -> str:
        align = "right" if isinstance(value, int | float) else "left"
        text = "absent" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)
        return f'<td style="text-align:{align}">{escape(text)}</td>'

    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return f"<p>{escape(title)}</p><table>{f'<tr>{head}</tr>' if header else ''}{body}</table>"
