"""The material of a report: rows, how they were trained, what they said of each image, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from effiseg.report.row_titles import BASELINE, is_teacher, row_title
from effiseg.report.samples import SampleIndex
from effiseg.results import AblationResult, AblationRow, EvaluationResult

History = dict[str, list[float | None]]
"""Columns of a run's metrics.csv, one value an epoch; None where the epoch has none."""


@dataclass
class Study:
    """One comparison, or several runs put beside each other."""

    title: str
    """Its title on the page."""
    source: Path
    """Folder or file it was read from."""
    result: AblationResult
    """Rows that have a result; its `dataset`, `class_shares` and `settings` may be empty while nothing is known."""
    histories: dict[str, list[History]] = field(default_factory=dict)
    """Row → the histories of its runs, also of rows that have no result yet."""
    evaluations: dict[str, list[EvaluationResult]] = field(default_factory=dict)
    """Row → what its runs said of every image, one evaluation a seed; only where a file has it."""
    progress: dict[str, str] = field(default_factory=dict)
    """Row → how far it is, for rows that are not finished."""
    samples: SampleIndex | None = None
    """Saved images and predictions."""
    gaps: list[str] = field(default_factory=list)
    """Gaps: figures that could not be drawn, and why, one line each."""
    single: bool = False
    """Whether it is one run or evaluation by itself, so that nothing can be compared."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Every setting of a single run, dotted name → value."""
    batch: Path | None = None
    """Picture of a single run's first training batch, as the network saw it."""

    @property
    def rows(self) -> list[AblationRow]:
        """The rows that have a result, in order."""
        return self.result.rows

    @property
    def names(self) -> list[str]:
        """Class names."""
        return list(self.result.dataset.get("names", ()))

    @property
    def baseline(self) -> AblationRow | None:
        """The row that others are compared with: the one called baseline, else the first that is no teacher."""
        students = [row for row in self.rows if not is_teacher(row.name)]
        return next((row for row in students if row.name == BASELINE), students[0] if students else None)

    @property
    def order(self) -> list[str]:
        """Names of all rows, those without a result last; colours and markers follow it."""
        return list(dict.fromkeys([*(row.name for row in self.rows), *self.histories]))

    def label(self, name: str) -> str:
        """How a row is called in figures: its title, and how far it is if it is not finished."""
        state = self.progress.get(name)
        return row_title(name) if state is None else f"{row_title(name)} ({state})"
