"""The comparison: teacher, baseline and every strategy under one loop, metric and budget."""

from __future__ import annotations

import shlex
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from effiseg.allocator import keep_freed_memory
from effiseg.comparison.given_teachers import COMPLEXITY_SIZE, given_teacher_rows, with_complexity
from effiseg.comparison.plan import (
    PlannedRun,
    changed_settings,
    check_all_same_settings,
    pinned,
    planned_runs,
    row_config,
)
from effiseg.comparison.samples import save_samples_of_rows
from effiseg.comparison.speed import add_latency
from effiseg.comparison.step_times import StepTimes, equal_time, with_steps
from effiseg.config.comparison import BASELINE_ROW, AblationConfig, teacher_row
from effiseg.config.data import parse_image_size
from effiseg.config.parsing import settings_dict
from effiseg.config.training import TrainConfig
from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.environment import describe_environment, resolve_device
from effiseg.errors import EffisegError, Interrupted, ResourceError, RunError, UsageError
from effiseg.evaluation.chance import chance_miou
from effiseg.evaluation.evaluator import evaluate
from effiseg.files import read_json, write_json, write_yaml
from effiseg.inference.framing import Framing
from effiseg.inference.network import trained_network
from effiseg.messages import notice
from effiseg.models.pretrained import from_pretrained
from effiseg.nested import flatten
from effiseg.report.reading import comparison_winner
from effiseg.report.results_table import write_results_table
from effiseg.report.row_titles import is_teacher, row_title
from effiseg.results import AblationResult, AblationRow, AblationRun, EvaluationResult
from effiseg.run_folder import ComparisonFolder, RunFolder, is_new, resolve_model
from effiseg.training.trainer import resume, train

Message = Callable[[str], None]
# Settings in which rows may differ without that being a difference between strategies.
_BOOKKEEPING = frozenset({"out", "recipe", "seed", "teacher", "teacher_weights", "init_digest", "unlabeled"})


def ablate(
    config: AblationConfig,
    shared: dict[str, Any] | None = None,
    *,
    command: str | None = None,
    message: Message = notice,
    ranks: bool = True,
    after_run: Callable[[RunFolder], None] = lambda run: None,
) -> AblationResult:
    """Train what is not yet trained, evaluate every row on the split, write results.json, the tables and samples.

    Started again in the same folder, finished runs are kept and a run that was cut goes on.

    Args:
        config: the comparison's settings.
        shared: nested training settings laid over every row's recipe; None takes those in which `config` differs
            from the defaults.
        command: the command line to record; None takes the process's own.
        message: told, in one line each, what is happening.
        ranks: whether the budget is long enough to rank rows; results say so, and nothing is bold where it is not.
        after_run: called with every finished run.

    Raises:
        UsageError, DataError, ModelError, RunError: what is wrong, in one line.
        ResourceError: memory ran out; the line says what would fit for every row.
        Interrupted: a signal came; start again to go on.
    """
    spec, folder = _checked(config), ComparisonFolder(config.out)
    shared = changed_settings(config) if shared is None else shared
    plan = [pinned(planned, spec) for planned in planned_runs(config, shared)]
    reference = row_config(config, shared, BASELINE_ROW)
    if config.budget == "epochs":
        check_all_same_settings(plan)
    given = given_teacher_rows(config, spec, plan, reference, folder, message)
    if resolve_device(config.device) == "cpu":
        keep_freed_memory()
    times = None
    if config.budget == "time":
        plan, times = equal_time(plan, reference, spec, folder, message)
        reference = with_steps(reference, times.rows[BASELINE_ROW].steps, times.steps_per_epoch)
        check_all_same_settings(plan)
    write_yaml(folder.settings, settings_dict(config))
    done: list[tuple[PlannedRun, EvaluationResult]] = []
    for number, planned in enumerate(plan, 1):
        message(f"[{number}/{len(plan)}] {planned.row}, seed {planned.seed}")
        try:
            train_planned(planned)
        except Interrupted as stop:
            raise Interrupted(
                f"stopped in run {number} of {len(plan)}, {planned.run.path}; the same command goes on from there",
                stop.signal_number,
            ) from None
        except ResourceError as error:
            if error.accumulate is None:
                raise
            raise ResourceError(
                f"{error.found}, and rows must train alike: start the comparison anew in another --out, with "
                f"--accumulate {error.accumulate}"
            ) from None
        done.append((planned, _evaluation_of(planned.run, config, spec)))
        after_run(planned.run)
        result = summarize(config, spec, reference, done, given, times, complete=number == len(plan), command=command)
        result.settings["ranks"] = ranks
        _write_outputs(result, folder)
    warn_of_weak_teacher(result, message)
    models = {planned.row: resolve_model(planned.run.path) for planned, _ in reversed(done)}
    models |= {teacher_row(number): resolve_model(path) for number, path in enumerate(config.teachers, 1)}
    if config.latency_size is not None:
        message(f"timing every architecture at {config.latency_size}, batch 1")
        add_latency(result, models, parse_image_size(config.latency_size), resolve_device(config.device))
        _write_outputs(result, folder)
    try:
        save_samples_of_rows(result, models, config, spec)
    except (EffisegError, OSError, RuntimeError) as error:  # a comparison that is done is not lost by a picture
        message(f"no pictures were saved: {error}")
    return result


def warn_of_weak_teacher(result: AblationResult, message: Message) -> None:
    """Say it where the teacher does not lead: what its students learn from it is then worth little."""
    miou = {row.name: row.miou for row in result.rows}
    baseline = miou.get(BASELINE_ROW)
    for name, teacher in miou.items():
        if is_teacher(name) and teacher is not None and baseline is not None and teacher < baseline:
            message(
                f"warning: the {row_title(name).lower()} has {teacher:.2f} % mIoU and the baseline {baseline:.2f} %; "
                "distillation wants a better teacher: give --teacher, or more --teacher_epochs"
            )


def _checked(config: AblationConfig) -> DatasetSpec:
    """The data set; refuses what cannot be compared.

    Raises:
        UsageError, DataError, RunError: what is missing, or in the way.
    """
    if not config.data:
        raise UsageError("--data is missing: give a data set's YAML file, or a preset with --data_root")
    assert config.out, "who calls has made a folder where none was given"
    if config.latency_size is not None:
        parse_image_size(config.latency_size, "latency_size")
    spec = load_dataset_spec(config.data, config.data_root)
    if config.split not in spec.splits:
        raise UsageError(f"{spec.source}: has no split {config.split!r}; it has {', '.join(spec.splits)}")
    folder = ComparisonFolder(config.out)
    if not is_new(folder.path) and not folder.is_comparison:
        raise RunError(f"{folder.path}: exists and is not a comparison; choose another --out")
    return spec


def train_planned(planned: PlannedRun) -> None:
    """Train a run, go on with it, or leave it when it is finished."""
    if planned.run.is_run:
        resume(planned.run.path)
    else:
        train(planned.config)


def _evaluation_of(run: RunFolder, config: AblationConfig, spec: DatasetSpec) -> EvaluationResult:
    """The finished run's last weights on the comparison's split; measured once and kept in the run folder.

    As trained on every split, as the training evaluates val and a given teacher.
    """
    path = run.evaluation(config.split)
    if config.split == "val":
        return EvaluationResult.from_dict(read_json(path)["val"], path)
    if path.is_file():
        return EvaluationResult.from_dict(read_json(path), path)
    result = evaluate(
        trained_network(from_pretrained(str(run.model)), resolve_device(config.device), str(run.path)),
        Framing(config.input_size, config.resize, batch_size=config.batch_size_per_pass),
        spec,
        config.split,
        protocol=config.protocol,
        workers=config.workers,
    )
    write_json(path, result.to_dict())
    return result


def summarize(
    config: AblationConfig,
    spec: DatasetSpec,
    reference: TrainConfig,
    done: list[tuple[PlannedRun, EvaluationResult]],
    given: list[AblationRow],
    times: StepTimes | None = None,
    *,
    complete: bool,
    command: str | None,
) -> AblationResult:
    """Rows from finished runs; seeds of a row are averaged.

    Args:
        config: the comparison's settings.
        spec: the data set.
        reference: what the baseline trains with, whether or not it is among the rows.
        done: finished runs and their evaluations.
        given: the rows of teachers that were not trained here.
        times: the rows' step times, of a comparison at equal time.
        complete: whether no run is left to train.
        command: the command line to record; None takes the process's own.
    """
    names = list(dict.fromkeys(planned.row for planned, _ in done))
    rows = [_summarize_row(name, [(p, e) for p, e in done if p.row == name], reference) for name in names]
    for row in rows:
        timed = None if times is None else times.rows.get(row.name)
        row.step_seconds = _step_seconds(row, done) if timed is None else timed.seconds
    rows = [*given, *rows]
    baseline = next((row for row in rows if row.name == BASELINE_ROW), None)
    for row in rows:
        row.compare_with(baseline)
    rule = reference.loss.class_weights
    weighed = next((planned for planned, _ in done if planned.config.loss.class_weights == rule), done[0][0])
    file = weighed.run.class_statistics
    classes = read_json(file) if file.is_file() else {"shares": {}, "weights": {}}
    return AblationResult(
        rows=rows,
        dataset={"name": spec.name, "names": list(spec.names), "palette": [list(c) for c in spec.palette]},
        class_shares=classes["shares"],
        class_weights=classes["weights"],
        protocol=config.protocol,
        environment=describe_environment(),
        command=command or shlex.join(["effiseg", *sys.argv[1:]]),
        settings={
            "complete": complete,
            "split": config.split,
            "images": done[0][1].images,
            "chance_miou": chance_miou(done[0][1]),
            "given_teacher": config.teacher,
            "init": None if reference.init is None else Path(reference.init).name,
            "budget": config.budget,
            **({} if times is None else {"budget_seconds": times.budget_seconds, "budget_load": times.load_average}),
            "epochs": reference.epochs,
            "steps": config.steps,
            "teacher_epochs": config.teacher_epochs or reference.epochs,
            "batch_size": reference.batch_size,
            "image_size": reference.image_size,
            "resize": reference.resize,
            "augment": reference.augment,
            "ema_decay": reference.ema_decay,
            "precision": reference.precision,
            "device": resolve_device(reference.device),
            "complexity_size": "x".join(map(str, COMPLEXITY_SIZE)),
            "latency_size": config.latency_size,
            "latency_runtime": "PyTorch eager, fused",
        },
    )


def _summarize_row(name: str, group: list[tuple[PlannedRun, EvaluationResult]], reference: TrainConfig) -> AblationRow:
    """One row from its seeds' runs."""
    config = group[0][0].config
    evaluations = [evaluation for _, evaluation in group]
    own, base = flatten(settings_dict(config)), flatten(settings_dict(reference))
    runs = [_ablation_run(planned, evaluation) for planned, evaluation in group]
    # At equal time rows have lengths of their own, which have a column.
    kept = _BOOKKEEPING | ({"steps", "epochs"} if reference.steps is not None else set())
    settings = {k: v for k, v in own.items() if k not in kept and base.get(k) != v}
    if pictures := read_json(group[0][0].run.results).get("unlabeled_images"):
        settings["unlabeled_images"] = pictures  # as many as were shown, whoever named them
    row = AblationRow.over_seeds(name, config.recipe, evaluations, runs, settings)
    return with_complexity(row, config.model, len(evaluations[0].names))


def _step_seconds(row: AblationRow, done: list[tuple[PlannedRun, EvaluationResult]]) -> float | None:
    """Seconds of a step of a row that was trained here, as its epochs say: the median over them and its seeds."""
    found = []
    for planned in (planned for planned, _ in done if planned.row == row.name):
        before = 0.0
        for epoch in planned.run.read_metrics():
            steps, before = (epoch["step"] or 0) - before, epoch["step"] or 0
            pictures = planned.config.batch_size + (epoch.get("unlabeled_images") or 0) / max(steps, 1)
            if rate := epoch.get("images_per_second"):
                found.append(pictures / rate)
    return statistics.median(found) if found else None


def _ablation_run(planned: PlannedRun, evaluation: EvaluationResult) -> AblationRun:
    """The results file's entry of one run."""
    results = read_json(planned.run.results)
    return AblationRun(
        seed=planned.seed,
        folder=f"runs/{planned.run.path.name}",
        miou=evaluation.miou,
        train_seconds=results["train_seconds"],
        class_iou=evaluation.class_iou,
        steps=results["steps"],
    )


def _write_outputs(result: AblationResult, folder: ComparisonFolder) -> None:
    """Write results.json, table.md, table.csv and table.tex."""
    write_json(folder.results, result.to_dict())
    write_results_table(result, folder.path, comparison_winner(folder.path))
