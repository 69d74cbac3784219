"""The answer of a page in a few sentences: what is best, by how much, whether that is more than noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

from effiseg.metrics.bootstrap import PairedDifference
from effiseg.report.noise import best_student, between, may_rank, not_told_apart
from effiseg.report.row_titles import is_teacher
from effiseg.report.study import Study
from effiseg.results import AblationRow, EvaluationResult

_WEAKEST = 3
_LAST_PART = 0.25
"""Share of the epochs over which a score that still rises is looked for."""


def answer(study: Study, differences: Sequence[PairedDifference]) -> list[str]:
    """Sentences for the head of the page; none where nothing has a score yet."""
    if len(study.rows) == 1:
        (row,) = study.rows
        return [] if row.miou is None else [*_of_one(study, row), *_still_rising(study, row, None)]
    best = best_student(study)
    if best is None:
        return _teacher(study)
    if not may_rank(study.result):
        highest = f"{study.label(best.name)} has the highest score, {best.miou:.1f} % mIoU"
        return [f"Training is too short to rank rows. {highest}.", *_teacher(study)]
    return [*_of_several(study, best, differences), *_seeds(study), *_still_rising(study, study.baseline or best, best)]


def _of_one(study: Study, row: AblationRow) -> list[str]:
    found = study.evaluations.get(row.name, [None])[0]
    sentences = [f"{study.label(row.name)} reaches {row.miou:.1f} % mIoU{_where(found)}."]
    if found is not None and found.miou_interval is not None:
        low, high = found.miou_interval
        sentences.append(f"Over the choice of images that is {low:.1f} to {high:.1f} % (95 % interval).")
    weak = sorted((iou, name) for name, iou in row.class_iou.items() if iou is not None)[:_WEAKEST]
    if len(weak) == _WEAKEST:
        sentences.append(f"Weakest classes: {', '.join(f'{name} {iou:.0f} %' for iou, name in weak)}.")
    return sentences


def _where(found: EvaluationResult | None) -> str:
    return "" if found is None else f" on {found.split} ({found.images} images)"


def _of_several(study: Study, best: AblationRow, differences: Sequence[PairedDifference]) -> list[str]:
    split = study.result.settings.get("split")
    on = f" on {split}" if split else ""
    base = study.baseline
    name, score = study.label(best.name), f"{best.miou:.1f} % mIoU{on}"
    if base is None or base is best or base.miou is None or best.miou is None:
        sentences = [f"No student is better than {name}, which reaches {score}."]
    else:
        gain = best.miou - base.miou
        sentences = [f"The best student is {name} with {score}, {gain:+.1f} points against {study.label(base.name)}."]
        sentences.append(_noise_sentence(between(differences, best.name, base.name)))
    others = [study.label(row.name) for row in not_told_apart(study, differences) if row is not base]
    if others and differences:
        sentences.append(f"Not told apart from {name} on these images: {', '.join(others)}.")
    return [*sentences, *_teacher(study)]


def _teacher(study: Study) -> list[str]:
    scores = [row.miou for row in study.rows if is_teacher(row.name) and row.miou is not None]
    return [f"The teacher reaches {score:.1f} %." for score in scores[:1]]


def _noise_sentence(pair: PairedDifference | None) -> str:
    if pair is None:
        return "Whether that is more than noise is not known: there are no pixel counts per image."
    interval = f"95 % interval over images {pair.low:+.1f} to {pair.high:+.1f}"
    if pair.is_more_than_noise:
        return f"That is more than the choice of images ({interval})."
    return f"That may be the choice of images ({interval})."


def _seeds(study: Study) -> list[str]:
    counts = {len(row.seeds) for row in study.rows if not is_teacher(row.name)}
    if max(counts, default=0) <= 1:
        return ["Each row has one seed, so what the seed changes is not known."]
    spread = max((row.miou_sd for row in study.rows if row.miou_sd is not None), default=None)
    return [] if spread is None else [f"Between seeds a row varies by up to {spread:.1f} points (standard deviation)."]


def _still_rising(study: Study, row: AblationRow, best: AblationRow | None) -> list[str]:
    """A sentence where training ended while the score still rose by as much as is to be decided."""
    rise = _late_rise(study, row.name)
    if best is None:
        return [] if rise < 1.0 else [f"val mIoU still rose by {rise:.1f} points at the end: longer training may help."]
    gain = abs((best.miou or 0.0) - (row.miou or 0.0))
    if rise < max(gain, 1.0):
        return []
    return [
        f"{study.label(row.name)} still rose by {rise:.1f} points at the end: the training is too short to rank rows."
    ]


def _late_rise(study: Study, name: str) -> float:
    """Points of val mIoU gained over the last part of the training, the least over the row's runs.

    0 where that is not known, or where an earlier evaluation was as good as the last one.
    """
    rises = []
    for history in study.histories.get(name, []):
        pairs = zip(history.get("epoch", []), history.get("val_miou", []), strict=False)
        points = [(epoch, value) for epoch, value in pairs if epoch is not None and value is not None]
        if len(points) > 1:
            start = points[-1][0] * (1 - _LAST_PART)
            before = max((point for point in points if point[0] <= start), default=None)
            is_highest = all(points[-1][1] > value for _, value in points[:-1])
            rises.append(points[-1][1] - before[1] if before is not None and is_highest else 0.0)
    return min(rises, default=0.0) if all(map(math.isfinite, rises)) else 0.0
