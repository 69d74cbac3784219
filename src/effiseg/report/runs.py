"""Runs that belong to no finished comparison, put beside each other as one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from effiseg.errors import UsageError
from effiseg.files import read_json
from effiseg.nested import flatten
from effiseg.report.row_titles import BASELINE, is_teacher
from effiseg.results import AblationResult, AblationRow, AblationRun, ClassStatistics, EvaluationResult
from effiseg.run_folder import RunFolder

_OWN = frozenset({"out", "recipe", "seed", "teacher", "teacher_weights", "data_root"})
# Settings that a reader of a number wants beside it.
_PROTOCOL = ("epochs", "batch_size", "image_size", "resize", "augment", "ema_decay", "precision", "device")


@dataclass
class MemberRun:
    """A run, or an evaluation without one, on its way into a study."""

    row: str
    """Row that it belongs to."""
    run: RunFolder | None
    """None for a file of `effiseg evaluate --json`."""
    evaluation: EvaluationResult | None
    """Its newest evaluation."""
    source: Path
    """Where it was read."""
    config: dict[str, Any] = field(default_factory=dict)
    """Its settings."""
    state: str | None = None
    """How far it is; None: finished."""


def result_of_runs(members: list[MemberRun]) -> AblationResult:
    """The runs as a comparison: those that share a row are its seeds; what only training knows is left open."""
    scored = [member for member in members if member.evaluation is not None]
    names = list(dict.fromkeys(member.row for member in scored))
    groups = {name: [member for member in scored if member.row == name] for name in names}
    reference = groups.get(BASELINE, scored)[0] if scored else None
    base = flatten(reference.config) if reference is not None else {}
    rows = [_row(name, group, base) for name, group in groups.items()]
    students = [row for row in rows if not is_teacher(row.name)] or rows
    first = next((row for row in students if row.name == BASELINE), students[0] if students else None)
    for row in rows:
        row.compare_with(first)
    evaluation = reference.evaluation if reference is not None else None
    shares, weights = _class_statistics(members)
    protocol = {key: base[key] for key in _PROTOCOL if all(flatten(m.config).get(key) == base.get(key) for m in scored)
                and key in base}  # fmt: skip
    if evaluation is not None:
        protocol |= {"split": evaluation.split, "images": evaluation.images}
    return AblationResult(
        rows=rows,
        dataset={} if evaluation is None else {"name": evaluation.dataset, "names": list(evaluation.names)},
        class_shares=shares,
        class_weights=weights,
        protocol="full" if evaluation is None else evaluation.protocol,
        environment=_environment(members),
        command="",
        settings=protocol,
    )


def _row(name: str, group: list[MemberRun], base: dict[str, Any]) -> AblationRow:
    evaluations = [member.evaluation for member in group if member.evaluation is not None]
    own = flatten(group[0].config)
    runs = [
        AblationRun(
            seed=_seed(member),
            folder=str(member.source),
            miou=evaluation.miou,
            class_iou=evaluation.class_iou,
        )
        for member, evaluation in zip(group, evaluations, strict=True)
    ]
    settings = {k: v for k, v in own.items() if k.split(".")[0] not in _OWN and k in base and base[k] != v}
    return AblationRow.over_seeds(name, str(group[0].config.get("recipe", "")), evaluations, runs, settings)


def _seed(member: MemberRun) -> int:
    seed = member.config.get("seed", 0)
    if type(seed) is not int:
        raise UsageError(f"{member.source}: seed in its settings must be a whole number; found {str(seed)[:40]}")
    return seed


def _class_statistics(members: list[MemberRun]) -> tuple[dict[str, float], dict[str, float]]:
    """Shares and weights of the first run that has them."""
    for member in members:
        if member.run is not None and member.run.class_statistics.is_file():
            path = member.run.class_statistics
            found = ClassStatistics.from_dict(read_json(path), path)
            return found.shares, found.weights
    return {}, {}


def _environment(members: list[MemberRun]) -> dict[str, Any]:
    for member in members:
        if member.run is not None and member.run.environment.is_file():
            value = read_json(member.run.environment)
            if not isinstance(value, dict):
                raise UsageError(f"{member.run.environment}: must be an object; found {type(value).__name__}")
            return value
    return {}
