"""Which differences between rows are more than the choice of images, and which of timings more than their spread."""

from __future__ import annotations

from collections.abc import Sequence

from effiseg.metrics.bootstrap import PairedDifference, paired_differences
from effiseg.report.row_titles import is_teacher
from effiseg.report.study import Study
from effiseg.results import AblationResult, AblationRow

UNKNOWN_SPREAD = 0.05
"""Share of a latency that counts as its spread where none was recorded, as in files of earlier versions."""


def study_differences(study: Study) -> tuple[list[PairedDifference], list[str]]:
    """Pairs of all rows that have counts per image, and what keeps others out."""
    rows = [row.name for row in study.rows]
    if len(rows) < 2:
        return [], ["paired comparison: needs two rows with a score"]
    usable = {
        name: found for name in rows if (found := study.evaluations.get(name)) and all(e.image_counts for e in found)
    }
    gaps = []
    missing = [study.label(name) for name in rows if name not in usable]
    if missing:
        whose = "" if not usable else f" of {', '.join(missing)}"
        gaps.append(
            f"paired comparison: no pixel counts per image{whose}; they lie in the evaluations in the run folders, and "
            "those of earlier versions have none"
        )
    if len(usable) < 2:
        return [], gaps
    try:
        return paired_differences(usable), gaps
    except ValueError as reason:
        return [], [*gaps, f"paired comparison: {reason}"]


def between(differences: Sequence[PairedDifference], first: str, second: str) -> PairedDifference | None:
    """The first row minus the second; None where they were not paired."""
    for pair in differences:
        if (pair.first, pair.second) == (first, second):
            return pair
        if (pair.first, pair.second) == (second, first):
            return PairedDifference(first, second, -pair.delta, -pair.high, -pair.low, 1.0 - pair.share_above_zero)
    return None


def best_student(study: Study) -> AblationRow | None:
    """The student with the highest mIoU, whether or not that is more than noise."""
    students = [row for row in study.rows if not is_teacher(row.name) and row.miou is not None]
    return max(students, key=lambda row: row.miou or 0.0, default=None)


def not_told_apart(study: Study, differences: Sequence[PairedDifference]) -> list[AblationRow]:
    """The students that differ from the best one by no more than the choice of images, or were not paired with it."""
    best = best_student(study)
    found = []
    for row in study.rows:
        if best is None or row is best or is_teacher(row.name) or row.miou is None:
            continue
        pair = between(differences, best.name, row.name)
        if pair is None or not pair.is_more_than_noise:
            found.append(row)
    return found


def clear_winner(study: Study, differences: Sequence[PairedDifference]) -> str | None:
    """The student that is better than every other by more than the choice of images; None where none is known to be."""
    if not may_rank(study.result):
        return None
    best = best_student(study)
    return best.name if best is not None and not not_told_apart(study, differences) else None


def may_rank(result: AblationResult) -> bool:
    """Whether rows were trained for long enough to be ranked, unless who compared them said otherwise."""
    return bool(result.settings.get("ranks", True))


def timing_tolerance(rows: Sequence[AblationRow]) -> float:
    """The share of a latency by which rows may differ without that being a difference: the largest spread of any."""
    shares = [
        UNKNOWN_SPREAD if row.latency_spread_ms is None else row.latency_spread_ms / row.latency_ms
        for row in rows
        if row.latency_ms
    ]
    return max(shares, default=0.0)
