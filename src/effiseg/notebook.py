"""What notebooks show: small tables of results in HTML, and how far long work is."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

_SECONDS_BETWEEN = 0.25
"""Time between two pictures of a bar."""


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


def in_notebook() -> bool:
    """Whether this process runs the cells of a notebook."""
    from rich.console import Console

    return Console().is_jupyter


class NotebookBar:
    """A bar under a notebook's cell: one output, replaced a few times a second, empty when it is closed."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._due = float("-inf")

    def show(self, done: int, total: int, text: str) -> None:
        """Show that `done` of `total` things are done, unless it was shown just now.

        Args:
            done: 0 to `total`.
            total: things in all.
            text: what stands beside the bar.
        """
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + _SECONDS_BETWEEN
        from IPython.display import HTML, display

        bar = HTML(f'<progress value="{done}" max="{total}"></progress> {escape(text)}')
        if self._handle is None:
            self._handle = display(bar, display_id=True)
        else:
            self._handle.update(bar)

    def close(self) -> None:
        """Take the bar away."""
        if self._handle is not None:
            from IPython.display import HTML

            self._handle.update(HTML(""))
