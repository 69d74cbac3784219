"""Training runs from start to model folder: `train` and `resume`."""

from __future__ import annotations

import hashlib
import logging
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from effiseg.allocator import keep_freed_memory
from effiseg.config.parsing import read_settings, settings_dict
from effiseg.config.training import TrainConfig
from effiseg.data.datamodule import SegmentationDataModule
from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.statistics import describe_unlisted, split_statistics
from effiseg.environment import describe_environment
from effiseg.errors import Interrupted, ModelError, RunError, UsageError
from effiseg.evaluation.chance import chance_miou
from effiseg.evaluation.evaluator import check_classes, evaluate_model
from effiseg.files import read_json, write_json, write_yaml
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import from_pretrained, save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.results import EvaluationResult
from effiseg.run_folder import RunFolder, resolve_model
from effiseg.training.checkpointing import TrainingState, load_checkpoint, read_tensors
from effiseg.training.distillation_task import DistillationTask
from effiseg.training.interruption import SignalWatch
from effiseg.training.run_keeper import RunKeeper, Schedule, write_metrics
from effiseg.training.segmentation_task import SegmentationTask
from effiseg.training.sync_batch_norm import synchronize_batch_norm

LIGHTNING_PRECISION: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def train(config: TrainConfig) -> RunFolder:
    """Train as `config` says, in a new run folder.

    Everything a user can get wrong is checked before the folder is made.

    Args:
        config: settings; `data` and `out` must be given.

    Returns:
        The finished run, with model/ and results.json.

    Raises:
        UsageError, DataError, ModelError, RunError: what is wrong, in one line.
        Interrupted: a signal came; the run can be resumed.
    """
    check_config(config)
    run = RunFolder(config.out)
    if run.path.exists():
        if not run.is_run:
            raise RunError(f"{run.path}: exists and is not a run; choose another --out")
        raise RunError(
            f"{run.path}: exists already; go on with `effiseg train --resume {run.path}`, or choose another --out"
        )
    config = with_absolute_paths(config)
    spec = load_dataset_spec(config.data, config.data_root)
    data = SegmentationDataModule(config, spec)
    data.setup("fit")
    teacher = load_teacher(config, spec)
    teacher_result = None if teacher is None else check_teacher(teacher, config, spec)
    statistics = class_statistics(config, spec)

    write_yaml(run.config, settings_dict(config))
    write_json(run.environment, describe_environment())
    write_json(run.class_statistics, statistics)
    if teacher_result is not None:
        write_json(run.teacher, teacher_result.to_dict())
    return carry_on(run, config, spec, data, teacher)


def resume(folder: str | Path) -> RunFolder:
    """Go on with an interrupted run, from its last checkpoint or else from its start.

    A finished run is left as it is.

    Raises:
        RunError: not a run folder, or its data has changed.
    """
    run = RunFolder(folder)
    if not run.is_run:
        raise RunError(f"{run.path}: not a run folder (no config.yaml); start one with --out")
    config = replace(read_settings(TrainConfig, run.config), out=str(run.path))
    if run.results.is_file() and run.model.is_dir():
        return run
    spec = load_dataset_spec(config.data, config.data_root)
    data = SegmentationDataModule(config, spec)
    data.setup("fit")
    teacher = load_teacher(config, spec)
    if teacher is not None and not (run.teacher).is_file():
        write_json(run.teacher, check_teacher(teacher, config, spec).to_dict())
    if not run.class_statistics.is_file():
        write_json(run.class_statistics, class_statistics(config, spec))
    return carry_on(run, config, spec, data, teacher)


def carry_on(
    run: RunFolder,
    config: TrainConfig,
    spec: DatasetSpec,
    data: SegmentationDataModule,
    teacher: SegFormer | None,
) -> RunFolder:
    """Train a run whose folder holds its settings and class weights from where it stands to its end."""
    schedule = Schedule(config.epochs, data.batches_per_epoch // config.accumulate, config.accumulate)
    torch.manual_seed(config.seed)
    student = build_student(config, spec)
    task = build_task(config, student, teacher, class_weight_tensor(run, config))
    state = TrainingState(samples=fingerprint(data))
    optimizer_state = scaler_state = None
    if run.last_checkpoint.is_file():
        task_state, optimizer_state, scaler_state, state = load_checkpoint(run.last_checkpoint)
        if state.samples != fingerprint(data):
            raise RunError(f"{run.path}: the training samples of {config.data} have changed; train anew")
        task.load_state_dict(task_state)
    if state.step < schedule.total_steps and not state.stopped_early:
        keeper = RunKeeper(config, run, spec, schedule, state, optimizer_state, scaler_state)
        fit(config, run, task, data, keeper, schedule)
    return finish(run, config, spec)


def fit(
    config: TrainConfig,
    run: RunFolder,
    task: SegmentationTask,
    data: SegmentationDataModule,
    keeper: RunKeeper,
    schedule: Schedule,
) -> None:
    """Run Lightning over the remaining batches.

    Raises:
        Interrupted: a signal came; last.ckpt holds the step it came in.
    """
    device = device_type(config)
    if device == "cpu":
        keep_freed_memory()
    if config.devices > 1:
        synchronize_batch_norm(task.student, device)
    done = keeper.state.step * schedule.accumulate
    passes_per_epoch = schedule.steps_per_epoch * schedule.accumulate
    data.set_position(done // passes_per_epoch, done % passes_per_epoch)
    quiet_lightning()
    # The watch also covers the parent of several processes, which does not train itself.
    with SignalWatch() as watch:
        trainer = L.Trainer(
            accelerator="gpu" if device == "cuda" else "cpu",
            devices=config.devices,
            strategy="ddp_spawn" if config.devices > 1 else "auto",
            precision=LIGHTNING_PRECISION[config.precision],
            max_epochs=1,
            accumulate_grad_batches=config.accumulate,
            gradient_clip_val=config.optimizer.gradient_clip_norm,
            deterministic="warn" if config.deterministic else False,
            callbacks=[keeper],
            logger=tensorboard_logger(run) if config.tensorboard else False,
            default_root_dir=run.path,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            limit_val_batches=0,
        )
        trainer.fit(task, train_dataloaders=data.train_dataloader())
        received = watch.received or keeper.signal_received
    if received is not None:
        step = load_checkpoint(run.last_checkpoint)[3].step if run.last_checkpoint.is_file() else 0
        if step < schedule.total_steps:
            raise Interrupted(
                f"stopped at step {step} of {schedule.total_steps}; go on with `effiseg train --resume {run.path}`",
                received,
            )


def finish(run: RunFolder, config: TrainConfig, spec: DatasetSpec) -> RunFolder:
    """Write model/ and results.json from the run's checkpoints."""
    task_state, _, _, state = load_checkpoint(run.last_checkpoint)
    student = build_student(config, spec)
    if config.select == "best" and run.best_checkpoint.is_file():
        student.load_state_dict(read_tensors(run.best_checkpoint)["model"])
    else:
        prefix = "student." if config.ema_decay is None else "ema.module."
        student.load_state_dict({k.removeprefix(prefix): v for k, v in task_state.items() if k.startswith(prefix)})
    validation: EvaluationResult | None = None
    if "val" in spec.splits:
        validation = evaluate_model(
            student,
            spec,
            "val",
            protocol=config.protocol,
            device=device_type(config),
            workers=config.workers,
            batch_size=config.batch_size_per_pass,
        )
    write_metrics(run, state)
    save_pretrained(student, run.model)
    write_json(
        run.results,
        {
            "kind": "training run",
            "recipe": config.recipe,
            "epochs": len(state.history),
            "steps": state.step,
            "select": config.select,
            "best_epoch": state.best_epoch,
            "best_val_miou": state.best_miou,
            "stopped_early": state.stopped_early,
            "train_seconds": state.train_seconds,
            "teacher": config.teacher,
            "val": None if validation is None else validation.to_dict(),
        },
    )
    return run


def check_config(config: TrainConfig) -> None:
    """Refuse settings that contradict each other or the machine.

    Raises:
        UsageError: what is missing or contradictory.
    """
    if not config.data:
        raise UsageError("--data is missing: give a data set's YAML file, or a preset with --data_root")
    if not config.out:
        raise UsageError("--out is missing: give the run folder to write")
    if config.distillation.enabled and config.teacher is None:
        raise UsageError(
            f"recipe {config.recipe} distils: give --teacher a run folder, a model folder or a transformers folder"
        )
    if config.teacher is not None and not config.distillation.enabled:
        raise UsageError(
            f"--teacher is given, but recipe {config.recipe} has no distillation term; "
            "take --recipe kd or set --distillation.feature_weight"
        )
    if config.precision == "16" and device_type(config) == "cpu":
        raise UsageError("--precision 16 needs a GPU; on the CPU take 32 or bf16")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: no GPU is visible to torch; take --device cpu")


def device_type(config: TrainConfig) -> str:
    """ "cuda" or "cpu"."""
    if config.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return config.device


def with_absolute_paths(config: TrainConfig) -> TrainConfig:
    """The same settings with local paths made absolute, so that a run resumes from any folder."""

    def absolute(path: str | None) -> str | None:
        return str(Path(path).resolve()) if path is not None and Path(path).exists() else path

    return replace(
        config,
        data=absolute(config.data) or config.data,
        data_root=absolute(config.data_root),
        teacher=absolute(config.teacher),
    )


def build_student(config: TrainConfig, spec: DatasetSpec) -> SegFormer:
    """A fresh network for the data set; its weights follow torch's current seed."""
    student = SegFormer(
        config.model.variant,
        spec.num_classes,
        config.model.patch_norm,
        config.model.block_norm,
        drop_path_rate=config.model.drop_path_rate,
        classifier_dropout=config.model.classifier_dropout,
        norm_eps=config.model.norm_eps,
    )
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
    config: TrainConfig, student: SegFormer, teacher: SegFormer | None, weights: torch.Tensor | None
) -> SegmentationTask:
    """The task of the run: with a teacher or without."""
    if teacher is None:
        return SegmentationTask(student, config, weights)
    return DistillationTask(student, teacher, config, weights)


def class_statistics(config: TrainConfig, spec: DatasetSpec) -> dict[str, dict[str, float]]:
    """`shares`: class → share of the labelled training pixels, 0..1; `weights`: class → weight in the loss."""
    statistics = split_statistics(spec, "train")
    if statistics.unlisted:
        print(f"effiseg train: {describe_unlisted(spec, statistics)}", file=sys.stderr)
    weights = statistics.class_weights(config.loss.class_weights)
    return {
        "shares": dict(zip(spec.names, map(float, statistics.shares), strict=True)),
        "weights": dict(zip(spec.names, map(float, weights), strict=True)),
    }


def class_weight_tensor(run: RunFolder, config: TrainConfig) -> torch.Tensor | None:
    """(K,) float32 class weights of the run, or None for the rule `none`."""
    if config.loss.class_weights == "none":
        return None
    return torch.tensor(list(read_json(run.class_statistics)["weights"].values()), dtype=torch.float32)


def load_teacher(config: TrainConfig, spec: DatasetSpec) -> SegFormer | None:
    """The teacher the settings ask for, or None.

    Raises:
        ModelError: not a model, or its classes are not the data set's.
    """
    if not config.distillation.enabled or config.teacher is None:
        return None
    teacher = from_pretrained(resolve_model(config.teacher))
    try:
        check_classes(teacher, spec)
    except ModelError as error:
        raise ModelError(f"{config.teacher}: cannot teach on this data: {error}") from None
    return teacher


def check_teacher(teacher: SegFormer, config: TrainConfig, spec: DatasetSpec) -> EvaluationResult:
    """Evaluate the teacher on val (train where there is no val) at the run's own input size.

    Raises:
        ModelError: it does not beat always predicting the most frequent class.
    """
    split = "val" if "val" in spec.splits else "train"
    result = evaluate_model(
        teacher,
        spec,
        split,
        protocol=config.protocol,
        image_size=config.input_size,
        resize=config.resize,
        device=device_type(config),
        workers=config.workers,
        batch_size=config.batch_size_per_pass,
    )
    chance = chance_miou(result)
    if (result.miou or 0.0) <= chance:
        raise ModelError(
            f"{config.teacher}: the teacher reaches {result.miou or 0.0:.2f} % mIoU on {split}, no more than always "
            f"predicting the most frequent class ({chance:.2f} %); train a better teacher first"
        )
    return result


def fingerprint(data: SegmentationDataModule) -> str:
    """Changes when a training sample is added, removed or renamed."""
    ids = "\n".join(sample.id for sample in data.train_samples)
    return hashlib.blake2b(ids.encode(), digest_size=16).hexdigest()


def tensorboard_logger(run: RunFolder) -> TensorBoardLogger:
    """A logger that writes into the run folder.

    Raises:
        UsageError: tensorboard is not installed.
    """
    try:
        return TensorBoardLogger(run.path, name="tensorboard", version="")
    except ModuleNotFoundError:
        raise UsageError("--tensorboard needs the package: pip install 'effiseg[tensorboard]'") from None


def quiet_lightning() -> None:
    """Silence what Lightning says about itself and about choices made here on purpose."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
