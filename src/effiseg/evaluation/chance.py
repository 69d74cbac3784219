"""The score of a model that has learnt nothing."""

from __future__ import annotations

from effiseg.results import EvaluationResult


def chance_miou(result: EvaluationResult) -> float:
    """mIoU, percent, of always predicting the class with the most pixels in the evaluated labels."""
    totals = [sum(row) for row in result.confusion]
    present = sum(total > 0 for total in totals)
    return 100.0 * max(totals) / sum(totals) / present if present else 0.0
