"""Training runs from start to model folder: `train` and `resume`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from effiseg.config.parsing import read_settings, settings_dict
from effiseg.config.training import TrainConfig
from effiseg.data.datamodule import SegmentationDataModule
from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec, with_images_per_epoch
from effiseg.data.python_data import PythonData
from effiseg.data.statistics import describe_unlisted, summarize
from effiseg.distillation.teacher import Teacher
from effiseg.environment import describe_environment, resolve_device
from effiseg.errors import RunError, UsageError
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
from effiseg.losses.custom import Loss, check_custom_loss
from effiseg.messages import logged_to, notice
from effiseg.models.hub import CARD_FILE
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.models.taper import plain_norms
from effiseg.results import EvaluationResult
from effiseg.run_folder import RunFolder, is_new
from effiseg.training.absolute_paths import with_absolute_paths
from effiseg.training.checkpointing import TrainingState, load_checkpoint, read_tensors
from effiseg.training.distillation_task import DistillationTask
from effiseg.training.fitting import fit
from effiseg.training.initialization import Initialization, load_initialization, resolve_init
from effiseg.training.interruption import SignalWatch
from effiseg.training.model_card import model_card
from effiseg.training.progress import describe_run
from effiseg.training.run_checks import check_config, check_objects, check_transfer
from effiseg.training.run_keeper import RunKeeper
from effiseg.training.schedule import Schedule, with_epochs_of_steps
from effiseg.training.segmentation_task import SegmentationTask
from effiseg.training.tapering import taper
from effiseg.training.teacher import evaluations_of_teachers, load_teachers
from effiseg.training.trackers import Trackers


def train(config: TrainConfig, *, python_data: PythonData | None = None, loss: Loss | None = None) -> RunFolder:
    """Train as `config` says, in a new run folder.

    Everything a user can get wrong is checked before the folder is made.

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
    check_config(config)
    check_objects(config, python_data, loss)
    run = RunFolder(config.out)
    if run.is_run:
        raise RunError(f"{run.path}: exists already; {run.how_to_resume}, or choose another --out")
    if not is_new(run.path):
        raise RunError(f"{run.path}: exists and is not a run; choose another --out")
    config = resolve_init(config)
    with SignalWatch("nothing was written yet; start it again") as watch:
        setup = _set_up(with_absolute_paths(config), run, python_data, loss)
        with _sole_process(run), logged_to(run.log):
            if run.is_run:
                raise RunError(f"{run.path}: another process started a run here meanwhile; choose another --out")
            write_yaml(run.config, settings_dict(setup.config))
            watch.hint = run.how_to_resume
            for line in setup.data.notices:
                notice(line)
            return _carry_on(run, setup, watch)


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
    run = RunFolder(folder)
    if not run.is_run:
        raise RunError(f"{run.path}: not a run folder (no config.yaml); start one with --out")
    config = replace(read_settings(TrainConfig, run.config), out=str(run.path))
    if run.is_finished:
        notice(f"{run.path} is finished already; nothing is trained")
        return run
    if config.init == "auto":  # a run writes down what auto meant; this one began before there was init
        config = replace(config, init=None)
    check_config(config)
    check_objects(config, python_data, loss)
    with _sole_process(run), SignalWatch(run.how_to_resume) as watch, logged_to(run.log):
        return _carry_on(run, _set_up(config, run, python_data, loss), watch)


@dataclass(frozen=True)
class _Setup:
    """The data, teachers and loss of a run, and facts that its folder does not hold yet."""

    config: TrainConfig
    spec: DatasetSpec
    data: SegmentationDataModule
    teachers: list[Teacher]
    loss: Loss | None
    initial: Initialization | None
    """Weights that a run with `init` starts from; one that has a checkpoint needs none."""
    teacher_results: dict[int, EvaluationResult]
    """Number of a teacher, from 1 → its evaluation."""
    statistics: dict[str, dict[str, float]] | None

    def write(self, run: RunFolder) -> None:
        """Write what the run's folder lacks."""
        if not run.environment.is_file():
            write_json(run.environment, describe_environment())
        if self.statistics is not None:
            write_json(run.class_statistics, self.statistics)
        for number, result in self.teacher_results.items():
            write_json(run.teacher_evaluation(number), result.to_dict())


def _set_up(config: TrainConfig, run: RunFolder, python_data: PythonData | None, loss: Loss | None) -> _Setup:
    """Read and measure all that a run needs, but for what its folder says already; nothing is written.

    Raises:
        UsageError, DataError, ModelError: what is wrong with it.
    """
    spec = _describe_data(config, python_data)
    if "val" not in spec.splits and (config.select == "best" or config.early_stop_epochs is not None):
        raise UsageError(f"{spec.source}: has no val split, which select best and early_stop_epochs need")
    if config.transfer.data is not None:  # measured at the end, refused at the start
        check_transfer(config.transfer)
    if loss is not None:
        check_custom_loss(loss, spec.num_classes, spec.ignore_index)
    data = SegmentationDataModule(config, spec)
    data.setup("fit")
    config = data.config = with_epochs_of_steps(config, data.batches_per_epoch)
    spec = data.spec_as_listed
    teachers = load_teachers(config, spec)
    results = evaluations_of_teachers(teachers, config, spec, run)
    statistics = initial = None
    if not run.class_statistics.is_file():
        statistics = class_statistics(config, spec, data)
    if not run.last_checkpoint.is_file():
        initial = load_initialization(config, spec)
    if initial is not None:
        config = replace(config, init_digest=initial.report.digest)
    return _Setup(config, spec, data, teachers, loss, initial, results, statistics)


def _describe_data(config: TrainConfig, python_data: PythonData | None) -> DatasetSpec:
    """The description of the data set that a run trains on.

    Raises:
        DataError, UsageError: as `load_dataset_spec` and `with_images_per_epoch`.
    """
    spec = python_data.spec() if python_data else load_dataset_spec(config.data, config.data_root)
    return with_images_per_epoch(spec, config.images_per_epoch)


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


def _carry_on(run: RunFolder, setup: _Setup, watch: SignalWatch) -> RunFolder:
    """Train a run whose folder holds its settings from where it stands to its end."""
    setup.write(run)
    config, spec, data = setup.config, setup.spec, setup.data
    schedule = Schedule(config.epochs, data.batches_per_epoch // config.accumulate, config.accumulate, config.steps)
    torch.manual_seed(config.seed)
    student = build_student(config, spec)
    if setup.initial is not None:
        setup.initial.apply(student, config, spec, data.train_samples)
        write_json(run.initialization, setup.initial.report.to_dict())
    task = build_task(config, student, setup.teachers, _class_weight_tensor(run, config), setup.loss)
    state = TrainingState(samples=fingerprint(data))
    optimizer_state = scaler_state = None
    if run.last_checkpoint.is_file():
        task_state, optimizer_state, scaler_state, state = load_checkpoint(run.last_checkpoint)
        before, now = state.samples.partition("-"), fingerprint(data).partition("-")
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
    keeper = None
    if not schedule.is_over(state):
        notice(describe_run(student, data, schedule, state))
        keeper = RunKeeper(config, run, spec, data, schedule, state, watch, optimizer_state, scaler_state)
        _require_room(run, task)
        if (difference := data.cache_difference()) is not None:
            notice(difference)
        try:
            fit(config, run, task, data, keeper, schedule)
        finally:
            data.close()
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


def class_statistics(
    config: TrainConfig, spec: DatasetSpec, data: SegmentationDataModule
) -> dict[str, dict[str, float]] | None:
    """`shares`: class → share of the labelled training pixels, 0..1; `weights`: class → weight in the loss.

    None where no class weights are asked for.
    """
    if config.loss.class_weights == "none":
        return None
    statistics = summarize("train", data.mask_counts)
    if statistics.unlisted:
        notice(describe_unlisted(spec, statistics))
    weights = statistics.class_weights(config.loss.class_weights)
    return {
        "shares": dict(zip(spec.names, map(float, statistics.shares), strict=True)),
        "weights": dict(zip(spec.names, map(float, weights), strict=True)),
    }


def _class_weight_tensor(run: RunFolder, config: TrainConfig) -> torch.Tensor | None:
    """(K,) float32 class weights of the run, or None for the rule `none`."""
    if config.loss.class_weights == "none":
        return None
    return torch.tensor(list(read_json(run.class_statistics)["weights"].values()), dtype=torch.float32)


def fingerprint(data: SegmentationDataModule) -> str:
    """Two digests with "-" between: of train, with its unlabeled pictures, and of val; each changes when a sample is
    added, removed or renamed.

    That of train also changes when samples are drawn in another way.
    """
    ids = "\n".join(sample.id for sample in data.train_samples)
    if data.spec.drawn is not None:
        ids += f"\n{data.spec.drawn.identity}"
    ids += "".join(f"\nunlabeled {sample.id}" for sample in data.unlabeled_samples)
    val = "\n".join(sample.id for sample in data.val_samples)
    return "-".join(hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in (ids, val))
