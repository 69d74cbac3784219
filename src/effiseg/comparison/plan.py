"""Which runs a comparison consists of, with all their settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from effiseg.config.comparison import BASELINE_ROW, OWN_SETTINGS, TEACHER_ROW, AblationConfig
from effiseg.config.parsing import make_settings, read_settings, recipe_settings, settings_dict
from effiseg.config.training import INIT_WORDS, TrainConfig
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.errors import ModelError, RunError
from effiseg.models.starters import STARTER, largest_with_starter
from effiseg.nested import flatten, nest
from effiseg.run_folder import ComparisonFolder, RunFolder
from effiseg.training.absolute_paths import with_absolute_paths
from effiseg.training.initialization import load_initialization, resolve_init

_OF_ONE_RUN = {"recipe", "seed", "out", "teacher", "teacher_weights"}


@dataclass(frozen=True)
class PlannedRun:
    """One training run of the comparison."""

    row: str
    seed: int
    config: TrainConfig

    @property
    def run(self) -> RunFolder:
        """Where it lies."""
        return RunFolder(self.config.out)


def changed_settings(config: AblationConfig) -> dict[str, Any]:
    """The settings in which `config` differs from the defaults, nested."""
    defaults = flatten(settings_dict(AblationConfig()))
    return nest({key: value for key, value in flatten(settings_dict(config)).items() if value != defaults[key]})


def planned_runs(config: AblationConfig, shared: dict[str, Any]) -> list[PlannedRun]:
    """All runs in the order they are trained: the teacher unless given, then row by row for each seed.

    Raises:
        UsageError: an unknown recipe, or settings that contradict a row.
    """
    folder = ComparisonFolder(config.out)
    teacher, weights = config.teacher, config.teacher_weights
    plan: list[PlannedRun] = []

    # Another size of network cannot start from the rows' weights, but it can start as they do.
    alike = shared.get("init", config.init) in (None, *INIT_WORDS)
    for_teacher = {key: value for key, value in shared.items() if key != "init_digest" and (alike or key != "init")}
    for_teacher = nest({key: value for key, value in flatten(for_teacher).items() if key != "model.variant"})

    def add(row: str, recipe: str, seed: int, **own: Any) -> None:
        settings = for_teacher if row == TEACHER_ROW else shared
        planned = row_config(config, settings, recipe, seed=seed, out=str(folder.run(row, seed).path), **own)
        if planned.distillation.enabled:
            planned = with_absolute_paths(replace(planned, teacher=teacher, teacher_weights=weights))
        plan.append(PlannedRun(row, seed, planned))

    if teacher is None:
        own: dict[str, Any] = {"epochs": config.teacher_epochs, "init": config.teacher_init}
        given = {key: value for key, value in own.items() if value is not None}
        if config.teacher_epochs is not None:
            given["steps"] = None
        if alike and config.teacher_init is None and config.teacher_recipe == AblationConfig.teacher_recipe:
            given |= _size_of_teacher(config, shared)
        add(TEACHER_ROW, config.teacher_recipe, config.seeds[0], **given)
        teacher = str(Path(plan[0].config.out).resolve())
    for seed in config.seeds:
        for recipe in config.recipes:
            add(Path(recipe).stem, recipe, seed)
    return plan


def _size_of_teacher(config: AblationConfig, shared: dict[str, Any]) -> dict[str, Any]:
    """The largest network that has a starter, where the rows start from theirs; otherwise what the recipe says."""
    rows_start = row_config(config, shared, BASELINE_ROW).init
    largest = largest_with_starter()
    return {"model": {"variant": largest}} if rows_start == STARTER and largest is not None else {}


def pinned(planned: PlannedRun, spec: DatasetSpec) -> PlannedRun:
    """The run with the fingerprint of the weights it starts from, which it will write down.

    Raises:
        ModelError: they do not fit the row's network.
    """
    try:
        initial = load_initialization(planned.config, spec)
    except ModelError as error:
        raise ModelError(f"row {planned.row}: {error}") from None
    if initial is None:
        return planned
    return replace(planned, config=replace(planned.config, init_digest=initial.report.digest))


def row_config(config: AblationConfig, shared: dict[str, Any], recipe: str, **own: Any) -> TrainConfig:
    """Settings that a row trains with: its recipe, the settings that hold for every row, then its own.

    Unlabeled pictures are for the rows that learn from a teacher.
    """
    kept = {k: v for k, v in shared.items() if k not in OWN_SETTINGS | _OF_ONE_RUN}
    if config.init in INIT_WORDS:  # what the set of rows asks for stands in no layer
        kept = {"init": config.init, **kept}
    paths = {key: getattr(with_absolute_paths(config), key) for key in ("data", "data_root")}
    layers = [(f"recipe {recipe}", recipe_settings(recipe)), ("settings", kept)]
    row = ("row", {"recipe": recipe, **own, **paths})
    made = resolve_init(with_absolute_paths(make_settings(TrainConfig, *layers, row)))
    return made if made.distillation.enabled else replace(made, unlabeled=[])


def check_all_same_settings(plan: Sequence[PlannedRun]) -> None:
    """Refuse a folder that holds a run of the plan with other settings.

    Raises:
        RunError: the first such run, with one differing setting.
    """
    for planned in plan:
        _check_same_settings(planned)


def _check_same_settings(planned: PlannedRun) -> None:
    """Refuse a folder that holds this run with other settings.

    Raises:
        RunError: one differing setting is named.
    """
    run = planned.run
    if not run.is_run:
        return
    there = flatten(settings_dict(read_settings(TrainConfig, run.config)))
    wanted = flatten(settings_dict(planned.config))
    # Where steps are given, a run writes down the epochs that they begin.
    own = {"out"} if planned.config.steps is None else {"out", "epochs"}
    differing = [key for key in wanted if key not in own and there.get(key) != wanted[key]]
    if differing:
        key = differing[0]
        raise RunError(
            f"{run.path}: was trained with other settings ({key}: {there.get(key)!r} there, {wanted[key]!r} now"
            f"{f', and {len(differing) - 1} more' if len(differing) > 1 else ''}); choose another --out"
        )
