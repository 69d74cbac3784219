"""From run folders, comparisons and results files to studies; a run that is still going gives what it has."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from effiseg.errors import EffisegError, UsageError
from effiseg.files import read_json, read_yaml
from effiseg.nested import flatten
from effiseg.report.noise import clear_winner, study_differences
from effiseg.report.row_titles import TEACHER, row_title
from effiseg.report.runs import MemberRun, result_of_runs
from effiseg.report.samples import read_samples
from effiseg.report.study import History, Study
from effiseg.results import AblationResult, EvaluationResult
from effiseg.run_folder import ComparisonFolder, RunFolder


def read_studies(paths: Sequence[str | os.PathLike[str]]) -> list[Study]:
    """One study for each comparison, and one for all single runs and evaluations together.

    Args:
        paths: comparison folders or their results.json, run folders, files of `effiseg evaluate --json`.

    Raises:
        UsageError: a path is none of these, or a file in it is not what it should be.
    """
    studies: list[Study] = []
    members: list[MemberRun] = []
    for argument in paths:
        path = Path(argument)
        if path.is_file():
            value = read_json(path)
            if isinstance(value, dict) and "rows" in value:
                studies.append(_read_comparison(path.parent, path))
            elif isinstance(value, dict) and "confusion" in value:
                members.append(MemberRun(path.stem, None, EvaluationResult.from_dict(value, path), path))
            else:
                raise _neither(path)
        elif RunFolder(path).is_run:
            members.append(_read_run(path.resolve().name, RunFolder(path)))
        elif is_comparison(ComparisonFolder(path)):
            studies.append(_read_comparison(path))
        elif is_comparison(ComparisonFolder(path / "comparison")):  # what `effiseg demo` leaves
            studies.append(_read_comparison(path / "comparison"))
        else:
            raise _neither(path)
    if members:
        studies.append(_study_of_runs(_named_apart(members)))
    return studies


def is_comparison(folder: ComparisonFolder) -> bool:
    """Whether `effiseg ablate` wrote this folder, or began to, or parts of it were copied."""
    return folder.settings.is_file() or bool(folder.started_runs()) or _results_file(folder) is not None


def _read_comparison(folder: Path, results: Path | None = None) -> Study:
    """A comparison as far as it is.

    Args:
        folder: where its runs lie.
        results: its results file; None looks for results.json in the folder.
    """
    layout = ComparisonFolder(folder)
    results = results or _results_file(layout)
    result = None if results is None else AblationResult.from_dict(read_json(results), results)
    rows = {} if result is None else {Path(run.folder).name: row.name for row in result.rows for run in row.runs}
    runs = layout.started_runs()
    if _settings(layout).get("teacher") is not None:  # a run named teacher is left from before another one was given
        runs = [run for run in runs if layout.row_of(run) != TEACHER]
    members = [_read_run(rows.get(run.path.name, layout.row_of(run)), run) for run in runs]
    title = folder.resolve().name
    if title == "comparison":
        title = folder.resolve().parent.name
    if results is None or result is None:
        study = Study(title, folder, result_of_runs(members))
        study.gaps.append("the comparison has no results yet: scores are those of each run's newest evaluation on val")
        _add_runs(study, members)
    else:
        study = Study(title, results, result)
        _add_evaluations_of_rows(study, layout)
        _add_runs(study, members)
    _name_missing_runs(study, layout, members)
    _add_samples(study, folder)
    return study


def _study_of_runs(members: list[MemberRun]) -> Study:
    """Single runs and evaluations beside each other."""
    title = members[0].row if len(members) == 1 else f"{len(members)} runs"
    study = Study(title, members[0].source, result_of_runs(members))
    _add_runs(study, members)
    if len(members) == 1:
        study.single = True
        study.settings = flatten(members[0].config)
        run = members[0].run
        if run is not None:
            study.batch = run.training_batch if run.training_batch.is_file() else None
            _add_samples(study, run.path)
    return study


def comparison_winner(folder: Path) -> str | None:
    """The row of a comparison on disk that is better than every other student by more than the choice of images.

    Raises:
        UsageError: a file in it is not what it should be.
    """
    study = _read_comparison(folder)
    return clear_winner(study, study_differences(study)[0])


def _add_evaluations_of_rows(study: Study, folder: ComparisonFolder) -> None:
    """Read what every finished run, and a teacher that was not trained here, said of each image."""
    split = str(study.result.settings.get("split", "val"))
    for row in study.rows:
        files = [RunFolder(folder.path / run.folder).evaluation(split) for run in row.runs]
        files = files or [folder.teacher_evaluation(split, row.name)]
        found = [_evaluation(path) for path in files]
        evaluations = [evaluation for evaluation in found if evaluation is not None]
        if len(evaluations) == len(files):
            study.evaluations[row.name] = evaluations


def _add_runs(study: Study, members: list[MemberRun]) -> None:
    """Add histories and states of runs, and the evaluations of rows that have none yet."""
    known = set(study.evaluations)
    for member in members:
        if member.run is not None:
            history = _read_history(member.run)
            if history:
                study.histories.setdefault(member.row, []).append(history)
            else:
                study.gaps.append(f"{row_title(member.row)}: no epoch of {member.run.path} is finished")
        if member.state is not None:
            study.progress[member.row] = member.state
        if member.evaluation is not None and member.row not in known and member.row in {r.name for r in study.rows}:
            study.evaluations.setdefault(member.row, []).append(member.evaluation)


def _name_missing_runs(study: Study, folder: ComparisonFolder, members: list[MemberRun]) -> None:
    """Say which planned runs are not finished or not begun."""
    for member in members:
        if member.state is not None:
            study.gaps.append(f"{row_title(member.row)}: {member.source.name} is not finished, {member.state}")
    settings = _settings(folder)
    rows = [Path(str(recipe)).stem for recipe in settings.get("recipes", [])]
    planned = [(row, seed) for row in rows for seed in settings.get("seeds", [])]
    if settings and settings.get("teacher") is None:
        planned = [(TEACHER, seed) for seed in settings.get("seeds", [])[:1]] + planned
    there = {member.source.name for member in members}
    there |= {Path(run.folder).name for row in study.rows for run in row.runs}
    absent = [
        f"{row_title(row)} (seed {seed})" for row, seed in planned if folder.run(row, seed).path.name not in there
    ]
    if absent:
        study.gaps.append(f"not begun: {', '.join(absent)}")


def _read_run(row: str, run: RunFolder) -> MemberRun:
    """A run and its newest evaluation, with how far it is unless it is finished."""
    config = read_yaml(run.config)
    if run.results.is_file():
        return MemberRun(row, run, _evaluation(run.results), run.path, config)
    validation = _evaluation(run.validation)
    history = _read_history(run)
    done = len(history["epoch"]) if history else 0
    return MemberRun(row, run, validation, run.path, config, f"epoch {done} of {config.get('epochs', '?')}")


def _read_history(run: RunFolder) -> History:
    """metrics.csv as columns; empty where no epoch is finished.

    Raises:
        UsageError: it holds something that is no number.
    """
    rows = run.read_metrics()
    if not rows or "epoch" not in rows[0]:
        return {}
    return {name: [_finite(row[name]) for row in rows] for name in rows[0]}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _evaluation(path: Path) -> EvaluationResult | None:
    """The evaluation in a file that may hold more: a run's results, its newest validation, a teacher's."""
    try:
        if not path.is_file():
            return None
    except OSError:  # names in results files may be too long for the system
        return None
    value: Any = read_json(path)
    for key in ("val", "result", "evaluation"):
        if isinstance(value, dict) and key in value:
            value = value[key]
    return None if value is None else EvaluationResult.from_dict(value, path)


def _results_file(folder: ComparisonFolder) -> Path | None:
    if not folder.results.is_file():
        return None
    value = read_json(folder.results)
    return folder.results if isinstance(value, dict) and "rows" in value else None


def _settings(folder: ComparisonFolder) -> dict[str, Any]:
    """Settings that the comparison was started with; none where only its runs or results are left.

    Raises:
        UsageError: recipes or seeds are no lists of texts and of numbers.
    """
    settings = read_yaml(folder.settings) if folder.settings.is_file() else {}
    for key, kind, rule in (("recipes", str, "texts"), ("seeds", int, "whole numbers")):
        values = settings.get(key, [])
        if not isinstance(values, list) or not all(type(value) is kind for value in values):
            raise UsageError(f"{folder.settings}: {key} must be a list of {rule}; found {str(values)[:40]}")
    return settings


def _named_apart(members: list[MemberRun]) -> list[MemberRun]:
    """Give members of one name the names of their parent folders too."""
    names = [member.row for member in members]
    for member in members:
        if names.count(member.row) > 1:
            member.row = f"{member.source.resolve().parent.name}/{member.row}"
    taken: dict[str, int] = {}
    for member in members:
        taken[member.row] = taken.get(member.row, 0) + 1
        if taken[member.row] > 1:
            member.row = f"{member.row} #{taken[member.row]}"
    return members


def _add_samples(study: Study, folder: Path) -> None:
    try:
        study.samples = read_samples(folder)
    except EffisegError as error:
        study.gaps.append(str(error))
        return
    if study.samples is None:
        study.gaps.append(f"pictures: no predictions were saved in {folder}; `effiseg ablate` saves some at its end")


def _neither(path: Path) -> UsageError:
    return UsageError(
        f"{path}: {'is' if path.exists() else 'does not exist; it must be'}{' not' if path.exists() else ''} a run "
        "folder, a comparison folder, its results.json, or a file of `effiseg evaluate --json`"
    )
