"""The comparison: teacher, baseline and every strategy under one loop, metric and budget."""

from __future__ import annotations

import math
import shlex
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from effiseg.benchmark.complexity import complexity
from effiseg.benchmark.latency import interleaved_latency
from effiseg.comparison.table import write_tables
from effiseg.config.comparison import BASELINE_ROW, OWN_SETTINGS, TEACHER_ROW, AblationConfig
from effiseg.config.data import parse_image_size
from effiseg.config.parsing import flatten, make_settings, read_settings, recipe_settings, settings_dict
from effiseg.config.training import TrainConfig
from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.environment import describe_environment
from effiseg.errors import Interrupted, RunError, UsageError
from effiseg.evaluation.chance import chance_miou
from effiseg.evaluation.evaluator import evaluate_model
from effiseg.files import read_json, write_json, write_yaml
from effiseg.models.pretrained import from_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.results import AblationResult, AblationRow, AblationRun, EvaluationResult
from effiseg.run_folder import RunFolder, resolve_model
from effiseg.training.trainer import device_type, resume, train, with_absolute_paths

Message = Callable[[str], None]
# Settings in which rows may differ without that being a difference between strategies.
_BOOKKEEPING = frozenset({"out", "recipe", "seed", "teacher"})
_COMPLEXITY_SIZE = (512, 1024)


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


def ablate(
    config: AblationConfig,
    shared: dict[str, Any] | None = None,
    *,
    command: str | None = None,
    message: Message = lambda text: print(text, file=sys.stderr),
) -> AblationResult:
    """Train what is not yet trained, evaluate every row on the split, write results.json and the tables.

    Started again in the same folder, finished runs are kept and a run that was cut goes on.

    Args:
        config: the comparison's settings.
        shared: nested training settings laid over every row's recipe; None takes none, so that all but
            epochs, batch_size, image_size and the like come from the recipes and defaults.
        command: the command line to record; None takes the process's own.
        message: told, in one line each, what is happening.

    Raises:
        UsageError, DataError, ModelError, RunError: what is wrong, in one line.
        Interrupted: a signal came; start again to go on.
    """
    check_ablation(config)
    spec = load_dataset_spec(config.data, config.data_root)
    if config.split not in spec.splits:
        raise UsageError(f"{spec.source}: has no split {config.split!r}; it has {', '.join(spec.splits)}")
    out = Path(config.out)
    plan = planned_runs(config, shared or {})
    if out.exists() and not (out / "ablation.yaml").is_file() and any(out.iterdir()):
        raise RunError(f"{out}: exists and is not a comparison; choose another --out")
    write_yaml(out / "ablation.yaml", settings_dict(config))
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
        done.append((planned, evaluation_of(planned.run, config, spec)))
        write_outputs(summarize(config, spec, plan, done, command), out)
    result = summarize(config, spec, plan, done, command)
    folders = {planned.row: resolve_model(planned.run.path) for planned, _ in reversed(done)}
    if config.teacher is not None:
        message(f"evaluating the given teacher {config.teacher}")
        folders[TEACHER_ROW] = resolve_model(config.teacher)
        result.rows.insert(0, given_teacher_row(config, spec, out))
    if config.latency_size is not None:
        message(f"timing every architecture at {config.latency_size}, batch 1")
        add_latency(result, folders, parse_image_size(config.latency_size), device_type(config))
    write_outputs(result, out)
    return result


def check_ablation(config: AblationConfig) -> None:
    """Refuse what cannot be compared.

    Raises:
        UsageError: what is missing.
    """
    if not config.data:
        raise UsageError("--data is missing: give a data set's YAML file, or a preset with --data_root")
    if not config.out:
        raise UsageError("--out is missing: give the folder of the comparison")
    if config.latency_size is not None:
        parse_image_size(config.latency_size)


def planned_runs(config: AblationConfig, shared: dict[str, Any]) -> list[PlannedRun]:
    """All runs in the order they are trained: the teacher unless given, then row by row for each seed.

    Raises:
        UsageError: an unknown recipe, or settings that contradict a row.
    """
    out = Path(config.out)
    kept = {k: v for k, v in shared.items() if k not in OWN_SETTINGS | {"recipe", "seed", "out", "teacher"}}
    paths = {k: getattr(with_absolute_paths(config), k) for k in ("data", "data_root")}
    teacher = config.teacher
    plan: list[PlannedRun] = []

    def add(row: str, recipe: str, seed: int, **own: Any) -> None:
        own |= {"recipe": recipe, "seed": seed, "out": str(out / "runs" / f"{row}-seed{seed}"), **paths}
        row_config = make_settings(
            TrainConfig, (f"recipe {recipe}", recipe_settings(recipe)), ("settings", kept), ("row", own)
        )
        if row_config.distillation.enabled:
            row_config = replace(row_config, teacher=teacher)
        plan.append(PlannedRun(row, seed, with_absolute_paths(row_config)))

    if teacher is None:
        epochs = {} if config.teacher_epochs is None else {"epochs": config.teacher_epochs}
        add(TEACHER_ROW, config.teacher_recipe, config.seeds[0], **epochs)
        teacher = str(Path(plan[0].config.out).resolve())
    for seed in config.seeds:
        for recipe in config.recipes:
            add(Path(recipe).stem, recipe, seed)
    return plan


def train_planned(planned: PlannedRun) -> None:
    """Train a run, go on with it, or leave it when it is finished.

    Raises:
        RunError: the folder holds a run with other settings.
    """
    run = planned.run
    if not run.is_run:
        train(planned.config)
        return
    there = flatten(settings_dict(read_settings(TrainConfig, run.config)))
    wanted = flatten(settings_dict(planned.config))
    differing = [key for key in wanted if key != "out" and there.get(key) != wanted[key]]
    if differing:
        key = differing[0]
        raise RunError(
            f"{run.path}: was trained with other settings ({key}: {there.get(key)!r} there, {wanted[key]!r} now"
            f"{f', and {len(differing) - 1} more' if len(differing) > 1 else ''}); choose another --out"
        )
    resume(run.path)


def evaluation_of(run: RunFolder, config: AblationConfig, spec: DatasetSpec) -> EvaluationResult:
    """The finished run's last weights on the comparison's split; measured once and kept in the run folder."""
    if config.split == "val":
        value = read_json(run.results)["val"]
        return EvaluationResult.from_dict(value, run.results)
    path = run.path / f"evaluation-{config.split}.json"
    if path.is_file():
        return EvaluationResult.from_dict(read_json(path), path)
    result = evaluate_on_split(from_pretrained(str(run.model)), config, spec)
    write_json(path, result.to_dict())
    return result


def evaluate_on_split(model: SegFormer, config: AblationConfig, spec: DatasetSpec) -> EvaluationResult:
    """Evaluate a model under the comparison's protocol and input size."""
    return evaluate_model(
        model,
        spec,
        config.split,
        protocol=config.protocol,
        image_size=config.input_size,
        resize=config.resize,
        device=device_type(config),
        workers=config.workers,
        batch_size=config.batch_size_per_pass,
    )


def summarize(
    config: AblationConfig,
    spec: DatasetSpec,
    plan: list[PlannedRun],
    done: list[tuple[PlannedRun, EvaluationResult]],
    command: str | None,
) -> AblationResult:
    """Rows from finished runs; seeds of a row are averaged."""
    names = list(dict.fromkeys(planned.row for planned, _ in done))
    grouped = {name: [(p, e) for p, e in done if p.row == name] for name in names}
    reference = grouped.get(BASELINE_ROW, next(iter(grouped.values())))[0][0].config
    rows = [summarize_row(name, group, reference) for name, group in grouped.items()]
    baseline = next((row.miou for row in rows if row.name == BASELINE_ROW), None)
    for row in rows:
        if row.miou is not None and baseline is not None and row.name != BASELINE_ROW:
            row.delta = row.miou - baseline
    reference_run = next(planned.run for planned, _ in done if planned.config is reference)
    classes = read_json(reference_run.class_statistics)
    return AblationResult(
        rows=rows,
        dataset={"name": spec.name, "names": list(spec.names), "palette": [list(c) for c in spec.palette]},
        class_shares=classes["shares"],
        class_weights=classes["weights"],
        protocol=config.protocol,
        environment=describe_environment(),
        command=command or shlex.join(["effiseg", *sys.argv[1:]]),
        settings={
            "complete": len(done) == len(plan),
            "split": config.split,
            "images": done[0][1].images,
            "chance_miou": chance_miou(done[0][1]),
            "given_teacher": config.teacher,
            "epochs": reference.epochs,
            "teacher_epochs": config.teacher_epochs or reference.epochs,
            "batch_size": reference.batch_size,
            "image_size": reference.image_size,
            "resize": reference.resize,
            "augment": reference.augment,
            "ema_decay": reference.ema_decay,
            "precision": reference.precision,
            "device": device_type(reference),
            "complexity_size": "x".join(map(str, _COMPLEXITY_SIZE)),
            "latency_size": config.latency_size,
        },
    )


def summarize_row(name: str, group: list[tuple[PlannedRun, EvaluationResult]], reference: TrainConfig) -> AblationRow:
    """One row from its seeds' runs."""
    config = group[0][0].config
    evaluations = [evaluation for _, evaluation in group]
    mious = [e.miou for e in evaluations if e.miou is not None]
    own, base = flatten(settings_dict(config)), flatten(settings_dict(reference))
    model = config.model
    work = complexity(model.variant, len(evaluations[0].names), _COMPLEXITY_SIZE, model.patch_norm, model.block_norm)
    runs = [ablation_run(planned, evaluation) for planned, evaluation in group]
    return AblationRow(
        name=name,
        recipe=config.recipe,
        params_m=work.params / 1e6,
        gmacs=work.gmacs,
        gmacs_attention=work.gmacs_attention,
        miou=statistics.fmean(mious) if mious else None,
        miou_sd=statistics.stdev(mious) if len(mious) > 1 else None,
        delta=None,
        class_iou={c: mean_or_none([e.class_iou[c] for e in evaluations]) for c in evaluations[0].names},
        confusion=[
            [sum(cells) for cells in zip(*rows, strict=True)]
            for rows in zip(*(e.confusion for e in evaluations), strict=True)
        ],
        image_iou={i: mean_or_none([e.image_iou[i] for e in evaluations]) for i in evaluations[0].image_iou},
        train_seconds=mean_or_none([run.train_seconds for run in runs]),
        seeds=[planned.seed for planned, _ in group],
        runs=runs,
        settings={k: v for k, v in own.items() if k not in _BOOKKEEPING and base.get(k) != v},
    )


def ablation_run(planned: PlannedRun, evaluation: EvaluationResult) -> AblationRun:
    """What the results file says about one run."""
    results = read_json(planned.run.results)
    return AblationRun(
        seed=planned.seed,
        folder=f"runs/{planned.run.path.name}",
        miou=evaluation.miou,
        train_seconds=results["train_seconds"],
        class_iou=evaluation.class_iou,
        steps=results["steps"],
    )


def mean_or_none(values: list[float | None]) -> float | None:
    """Mean of the numbers among `values`, or None when there is none."""
    numbers = [value for value in values if value is not None]
    return math.fsum(numbers) / len(numbers) if numbers else None


def given_teacher_row(config: AblationConfig, spec: DatasetSpec, out: Path) -> AblationRow:
    """The row of a teacher that was not trained here; evaluated once and kept."""
    assert config.teacher is not None
    model = from_pretrained(resolve_model(config.teacher))
    path = out / f"teacher-evaluation-{config.split}.json"
    if path.is_file():
        evaluation = EvaluationResult.from_dict(read_json(path), path)
    else:
        evaluation = evaluate_on_split(model, config, spec)
        write_json(path, evaluation.to_dict())
    work = complexity(model.variant, spec.num_classes, _COMPLEXITY_SIZE, model.patch_norm, model.block_norm)
    return AblationRow(
        name=TEACHER_ROW,
        recipe=f"given: {config.teacher}",
        params_m=work.params / 1e6,
        gmacs=work.gmacs,
        gmacs_attention=work.gmacs_attention,
        miou=evaluation.miou,
        miou_sd=None,
        delta=None,
        class_iou=evaluation.class_iou,
        confusion=evaluation.confusion,
        image_iou=evaluation.image_iou,
    )


def add_latency(result: AblationResult, folders: dict[str, str], size: tuple[int, int], device: str) -> None:
    """Time each distinct architecture once, interleaved; rows that share one share its figure."""
    models = {row.name: from_pretrained(folders[row.name]) for row in result.rows}
    kinds = {name: (model.variant, model.patch_norm, model.block_norm) for name, model in models.items()}
    measured = interleaved_latency({kinds[name]: model for name, model in models.items()}, size, device=device)
    for row in result.rows:
        row.latency_ms = measured[kinds[row.name]]
        row.fps = 1000.0 / row.latency_ms


def write_outputs(result: AblationResult, out: Path) -> None:
    """Write results.json, table.md and table.csv."""
    write_json(out / "results.json", result.to_dict())
    write_tables(result, out)
