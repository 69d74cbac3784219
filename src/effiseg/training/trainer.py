"""Training runs from start to model folder: `train` and `resume`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from effiseg.config.parsing import read_settings, settings_dict
from effiseg.config.training import TrainConfig
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.python_data import PythonData
from effiseg.distillation.teacher import Teacher
from effiseg.environment import resolve_device
from effiseg.errors import Interrupted, RunError
from effiseg.evaluation.evaluator import evaluate
from effiseg.files import (
    LockedError,
    exclusive_lock,
    make_folder,
    read_json,
    remove_leftovers,
    require_room,
    write_json,
    write_text,
    write_yaml,
)
from effiseg.inference.framing import Framing
from effiseg.inference.network import trained_network
from effiseg.losses.custom import Loss
from effiseg.messages import logged_to, notice
from effiseg.models.hub import CARD_FILE
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.models.taper import plain_norms
from effiseg.nested import flatten
from effiseg.run_folder import RunFolder, is_new
from effiseg.training.absolute_paths import with_absolute_paths
from effiseg.training.checkpointing import TrainingState, load_checkpoint, read_tensors
from effiseg.training.distillation_task import DistillationTask
from effiseg.training.fitting import fit
from effiseg.training.initialization import resolve_init
from effiseg.training.interruption import SignalWatch
from effiseg.training.launching import Crew, find_crew, leading
from effiseg.training.model_card import model_card
from effiseg.training.progress import describe_run
from effiseg.training.run_checks import check_config, check_objects
from effiseg.training.run_keeper import RunKeeper
from effiseg.training.run_setup import Setup, class_weight_tensor, set_up
from effiseg.training.schedule import Schedule
from effiseg.training.segmentation_task import SegmentationTask
from effiseg.training.tapering import taper
from effiseg.training.trackers import Trackers


def train(config: TrainConfig, *, python_data: PythonData | None = None, loss: Loss | None = None) -> RunFolder:
    """Train as `config` says, in a new run folder.

    Everything a user can get wrong is checked before the folder is made. Under a launcher, which starts the same
    command again when a process was lost, the folder may be that of the same command: it is gone on with.

    Args:
        config: settings; `data` and `out` must be given.
        python_data: the data set, where `config.data` is its `reference` and no file.
        loss: what to minimize where `config` names the loss custom; see `losses.custom.custom_loss`.

    Returns:
        The finished run, with model/ and results.json.

    Raises:
        UsageError, DataError, ModelError, RunError: what is wrong, in one line.
        Interrupted: a signal came; the run can be resumed.
    """
    crew, run = find_crew(), RunFolder(config.out)
    if crew is not None and not crew.leads:
        return _follow(crew, run, python_data, loss)
    with leading(crew) as go:
        if crew is not None:
            config = crew.settings(config, chosen=True)
        check_config(config, launched=crew is not None)
        check_objects(config, python_data, loss, launched=crew is not None)
        config = resolve_init(config)
        if crew is not None and run.is_run:
            _refuse_other_settings(run, config)
            return _go_on(run, python_data, loss, crew, go)
        if run.is_run:
            raise RunError(f"{run.path}: exists already; {run.how_to_resume}, or choose another --out")
        if not is_new(run.path):
            raise RunError(f"{run.path}: exists and is not a run; choose another --out")
        with SignalWatch("nothing was written yet; start it again") as watch:
            setup = set_up(with_absolute_paths(config), run, python_data, loss)
            with _sole_process(run), logged_to(run.log):
                if run.is_run:
                    raise RunError(f"{run.path}: another process started a run here meanwhile; choose another --out")
                write_yaml(run.config, settings_dict(setup.config))
                watch.hint = run.how_to_resume
                for line in setup.data.notices:
                    notice(line)
                setup.write(run)
                go()
                return _carry_on(run, setup, watch, crew)


def resume(folder: str | Path, *, python_data: PythonData | None = None, loss: Loss | None = None) -> RunFolder:
    """Go on with an interrupted run, from its last checkpoint or else from its start.

    A finished run is left as it is.

    Args:
        folder: the run.
        python_data: the data set that the run was started with, where that was no file.
        loss: the loss that the run was started with, where that is the user's own.

    Raises:
        RunError: not a run folder, or its data or its settings have changed, or another process trains it.
        Interrupted: a signal came; the run can be resumed again.
    """
    crew, run = find_crew(), RunFolder(folder)
    if crew is not None and not crew.leads:
        return _follow(crew, run, python_data, loss)
    with leading(crew) as go:
        if not run.is_run:
            raise RunError(f"{run.path}: not a run folder (no config.yaml); start one with --out")
        return _go_on(run, python_data, loss, crew, go)


def _go_on(
    run: RunFolder, python_data: PythonData | None, loss: Loss | None, crew: Crew | None, go: Callable[[], None]
) -> RunFolder:
    """Go on with a run, in the process that keeps it."""
    if run.is_finished:
        notice(f"{run.path} is finished already; nothing is trained")
        go()
        return run
    config = _kept_config(run, crew)
    check_objects(config, python_data, loss, launched=crew is not None)
    with _sole_process(run), SignalWatch(run.how_to_resume) as watch, logged_to(run.log):
        setup = set_up(config, run, python_data, loss)
        setup.write(run)
        go()
        return _carry_on(run, setup, watch, crew)


def _follow(crew: Crew, run: RunFolder, python_data: PythonData | None, loss: Loss | None) -> RunFolder:
    """Train a run that another process keeps, and end when that does."""
    with SignalWatch(run.how_to_resume, spawned=True) as watch, crew.ending():
        crew.follow()
        if not run.is_run:
            raise RunError(
                f"{run.path}: is not here, though the first process made it; the run's folder, its data and its "
                "teacher must lie on a file system that all machines share"
            )
        if run.is_finished:
            return run
        config = _kept_config(run, crew)
        try:
            return _carry_on(run, set_up(config, run, python_data, loss), watch, crew)
        except Interrupted as error:  # told by the process that keeps the run
            raise SystemExit(error.exit_code) from None


def _kept_config(run: RunFolder, crew: Crew | None) -> TrainConfig:
    """The settings that a run's folder holds, for the processes that there are now.

    Raises:
        UsageError: they contradict each other, the machine or the number of processes.
    """
    config = replace(read_settings(TrainConfig, run.config), out=str(run.path))
    if config.init == "auto":  # a run writes down what auto meant; this one began before there was init
        config = replace(config, init=None)
    if crew is not None:
        config = crew.settings(config, chosen=False)
    check_config(config, launched=crew is not None)
    return config


def _refuse_other_settings(run: RunFolder, config: TrainConfig) -> None:
    """Refuse to go on with a run that was started by another command.

    Raises:
        RunError: the settings that differ.
    """
    ours, theirs = (
        flatten(settings_dict(each)) for each in (with_absolute_paths(config), read_settings(TrainConfig, run.config))
    )
    found_out = {"out", "devices", "num_nodes", "init_digest", *(["epochs"] if config.steps is not None else [])}
    changed = [name for name, value in ours.items() if name not in found_out and theirs.get(name) != value]
    if changed:
        raise RunError(
            f"{run.path}: holds a run with other settings ({', '.join(changed)}); give those of its config.yaml, or "
            "choose another --out"
        )


@contextmanager
def _sole_process(run: RunFolder) -> Iterator[None]:
    """Keep every other process from training the run meanwhile.

    Raises:
        RunError: another one trains it.
    """
    make_folder(run.path)
    try:
        with exclusive_lock(run.lock):
            remove_leftovers(run.checkpoints)
            yield
    except LockedError as holder:
        raise RunError(f"{run.path}: is being trained by {holder}; wait until it ends, or stop it") from None


def _require_room(run: RunFolder, task: SegmentationTask) -> None:
    """Refuse to begin without room for the checkpoints: last.ckpt twice while it is replaced, and best.ckpt.

    Raises:
        ResourceError: the disk has less.
    """
    weights = sum(tensor.nbytes for tensor in task.state_dict().values())
    moments = sum(2 * parameter.nbytes for parameter in task.parameters() if parameter.requires_grad)
    require_room(run.path, 3 * weights + 2 * moments, "checkpoints")


def _carry_on(run: RunFolder, setup: Setup, watch: SignalWatch, crew: Crew | None) -> RunFolder:
    """Train a run whose folder holds its settings from where it stands to its end."""
    leads = crew is None or crew.leads
    config, spec, data = setup.config, setup.spec, setup.data
    schedule = Schedule(config.epochs, data.batches_per_epoch // config.accumulate, config.accumulate, config.steps)
    torch.manual_seed(config.seed)
    student = build_student(config, spec)
    if setup.initial is not None:
        setup.initial.apply(student, config, spec, data.train_samples)
        if leads:
            write_json(run.initialization, setup.initial.report.to_dict())
    task = build_task(config, student, setup.teachers, class_weight_tensor(run, config), setup.loss)
    state = TrainingState(samples=data.fingerprint)
    optimizer_state = scaler_state = None
    if run.last_checkpoint.is_file():
        task_state, optimizer_state, scaler_state, state = load_checkpoint(run.last_checkpoint)
        before, now = state.samples.partition("-"), data.fingerprint.partition("-")
        if before[0] != now[0]:
            raise RunError(f"{run.path}: the training samples of {config.data} have changed; train anew")
        if before[2] and before[2] != now[2]:  # earlier versions wrote none
            raise RunError(
                f"{run.path}: the samples of val of {config.data} have changed, and scores of before and after could "
                "not be compared; bring them back, or train anew"
            )
        try:
            task.load_state_dict(task_state)
        except RuntimeError:
            raise RunError(
                f"{run.last_checkpoint}: is not of the network, average and distillation that {run.config} describes; "
                "undo what was changed there, or train anew"
            ) from None
    if crew is not None:
        crew.require_same_step(state.step, run.last_checkpoint)
    keeper = None
    if not schedule.is_over(state):
        if leads:
            notice(describe_run(student, data, schedule, state))
        keeper = RunKeeper(config, run, spec, data, schedule, state, watch, optimizer_state, scaler_state)
        _require_room(run, task)
        if leads and (difference := data.cache_difference()) is not None:
            notice(difference)
        try:
            fit(config, run, task, data, keeper, schedule, launched=crew is not None)
        finally:
            data.close()
    if not leads:
        return run
    with nullcontext() if crew is None else crew.ending():
        finish(run, config, spec)
        if config.trackers:
            trackers = keeper.trackers if keeper is not None else None
            (Trackers(config, run) if trackers is None else trackers).finish(run.model)
    return run


def finish(run: RunFolder, config: TrainConfig, spec: DatasetSpec) -> RunFolder:
    """Write model/ and results.json from the run's checkpoints."""
    task_state, _, _, state = load_checkpoint(run.last_checkpoint)
    student = build_student(config, spec)
    if config.select == "best" and run.best_checkpoint.is_file():
        student.load_state_dict(read_tensors(run.best_checkpoint)["model"])
    else:
        prefix = "student." if config.ema_decay is None else "ema.module."
        student.load_state_dict({k.removeprefix(prefix): v for k, v in task_state.items() if k.startswith(prefix)})
    plain_norms(student)
    newest = read_json(run.validation) if run.validation.is_file() else {}
    validation: dict[str, Any] | None = None
    if config.select == "last" and newest.get("step") == state.step:
        validation = newest["result"]
    elif "val" in spec.splits:
        validation = evaluate(
            trained_network(student, resolve_device(config.device)),
            Framing(batch_size=config.batch_size_per_pass),
            spec,
            "val",
            protocol=config.protocol,
            workers=config.workers,
        ).to_dict()
    run.write_metrics(state.history)
    results = {
        "kind": "training run",
        "recipe": config.recipe,
        "epochs": len(state.history),
        "steps": state.step,
        "select": config.select,
        "best_epoch": state.best_epoch,
        "best_val_miou": state.best_miou,
        "stopped_early": state.stopped_early,
        "unlabeled_images": sum(row.get("unlabeled_images") or 0 for row in state.history),
        "train_seconds": state.train_seconds,
        "parameters": student.num_parameters(),
        "teacher": config.teacher,
        "val": validation,
    }
    save_pretrained(student, run.model)
    write_text(run.model / CARD_FILE, model_card(run, config, student.metadata, results))
    write_json(run.results, results)
    return run


def build_student(config: TrainConfig, spec: DatasetSpec) -> SegFormer:
    """A fresh network for the data set, with norms that are still to be tapered; weights follow torch's seed."""
    student = SegFormer(
        config.model.variant,
        spec.num_classes,
        config.model.patch_norm,
        config.model.block_norm,
        drop_path_rate=config.model.drop_path_rate,
        classifier_dropout=config.model.classifier_dropout,
        norm_eps=config.model.norm_eps,
        patch_centered=config.model.patch_centered,
        block_centered=config.model.block_centered,
    )
    taper(student, config)
    student.metadata = ModelMetadata(
        names=spec.names,
        palette=spec.palette,
        label_mapping=spec.label_mapping,
        ignore_index=spec.ignore_index,
        image_size=config.input_size,
        resize=config.resize,
    )
    return student


def build_task(
    config: TrainConfig,
    student: SegFormer,
    teachers: Sequence[Teacher],
    weights: torch.Tensor | None,
    loss: Loss | None = None,
) -> SegmentationTask:
    """The task of the run: with teachers or without."""
    if not teachers:
        return SegmentationTask(student, config, weights, loss)
    return DistillationTask(student, teachers, config, weights, loss)
