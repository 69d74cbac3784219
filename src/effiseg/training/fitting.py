"""Lightning's loop over the batches that remain, and what to say when it does not come to its end."""

from __future__ import annotations

import signal
from typing import Any

import lightning as L
import torch
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from effiseg.config.training import TrainConfig
from effiseg.data.datamodule import SegmentationDataModule
from effiseg.environment import resolve_device
from effiseg.errors import EffisegError, Interrupted, ResourceError, RunError
from effiseg.run_folder import RunFolder
from effiseg.training.checkpointing import TrainingState, load_checkpoint
from effiseg.training.launching import is_lost_process
from effiseg.training.memory_advice import describe, free_memory, is_shortage, largest_fitting, shortage_error
from effiseg.training.progress import quiet_lightning
from effiseg.training.run_keeper import RunKeeper
from effiseg.training.schedule import Schedule
from effiseg.training.segmentation_task import SegmentationTask
from effiseg.training.sync_batch_norm import synchronize_batch_norm

_LIGHTNING_PRECISION: dict[str, Any] = {
    "float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed",
}  # fmt: skip


def fit(
    config: TrainConfig,
    run: RunFolder,
    task: SegmentationTask,
    data: SegmentationDataModule,
    keeper: RunKeeper,
    schedule: Schedule,
    *,
    launched: bool = False,
) -> None:
    """Run Lightning over the remaining batches.

    Args:
        config: the run's settings.
        run: its folder.
        task: what is trained.
        data: the training samples.
        keeper: keeps the run.
        schedule: its length.
        launched: whether a launcher started the processes; else they are spawned here.

    Raises:
        Interrupted: a signal came; last.ckpt holds the step it came in.
        EffisegError: a user's mistake that showed in a process of data-parallel training.
        RunError: such a process ended without saying why, or cannot be reached any more.
        ResourceError: memory ran out; the line says which batch size fits.
    """
    device = resolve_device(config.device)
    if config.processes > 1:
        synchronize_batch_norm(task.student, device)
    done = keeper.state.step * schedule.accumulate
    passes_per_epoch = schedule.steps_per_epoch * schedule.accumulate
    data.set_position(done // passes_per_epoch, done % passes_per_epoch)
    quiet_lightning()
    trainer = L.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=config.devices,
        num_nodes=config.num_nodes,
        strategy="auto" if config.processes == 1 else "ddp" if launched else "ddp_spawn",
        precision=_LIGHTNING_PRECISION[config.precision],
        max_epochs=1,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=config.optimizer.gradient_clip_norm,
        deterministic="warn" if config.deterministic else False,
        callbacks=[keeper],
        logger=False,
        default_root_dir=run.path,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
    )
    watch = keeper.watch
    watch.patient = True
    shortage = ""
    try:
        # The data module, not a loader: torch cannot hand a loader's random generator to spawned processes.
        trainer.fit(task, datamodule=data)
    except (ProcessRaisedException, ProcessExitedException) as error:
        # A process that is stopped while it starts ends like that too.
        if watch.received is None:
            raise mistake_in_process(error, config, run) from error
    except (RuntimeError, MemoryError, OSError, ResourceError) as error:
        if launched and is_lost_process(error):
            raise _lost_process(describe(error), run) from None
        shortage = _shortage_behind(error)
        if not shortage:
            raise
    watch.patient = False
    if shortage:  # here, where the error no longer holds the tensors of the step
        del trainer
        raise _out_of_memory(shortage, config, run, task, keeper, unlabeled=data.unlabeled_per_pass > 0)
    # The processes of a data-parallel run can be stopped without their parent, where only the checkpoint tells.
    state = load_checkpoint(run.last_checkpoint)[3] if run.last_checkpoint.is_file() else TrainingState()
    if watch.received is not None or not schedule.is_over(state):
        raise Interrupted(
            f"stopped at step {state.step} of {schedule.total_steps}; {run.how_to_resume}",
            watch.received or signal.SIGTERM,
        )


def _shortage_behind(error: BaseException) -> str:
    """What an error, or its cause, says of memory that ran out; empty where neither does."""
    told = (describe(each) for each in (error.__cause__, error) if each is not None)
    return next(filter(is_shortage, told), "")


def _lost_process(reason: str, run: RunFolder) -> RunError:
    """The error for a process of a launcher that has gone."""
    return RunError(
        f"{run.path}: another process of the run cannot be reached any more ({' '.join(reason.split())[:200]}); "
        f"{run.how_to_resume}, or let the launcher start the same command again"
    )


def _out_of_memory(
    shortage: str, config: TrainConfig, run: RunFolder, task: SegmentationTask, keeper: RunKeeper, *, unlabeled: bool
) -> ResourceError:
    """The error for memory that ran out; says how many images fit, where that can be tried."""
    free_memory()
    step, total = keeper.state.step, keeper.schedule.total_steps
    if keeper.state.validation_pending:
        return shortage_error(shortage, config, run, f"in the evaluation after step {step}", run.how_to_resume)
    device = torch.device(resolve_device(config.device))
    fitting = largest_fitting(task, config, device, unlabeled=unlabeled)
    return shortage_error(shortage, config, run, f"in step {step + 1} of {total}", run.how_to_resume, fitting)


def mistake_in_process(
    error: ProcessRaisedException | ProcessExitedException, config: TrainConfig, run: RunFolder
) -> Exception:
    """The exception for an error in a spawned process, of which torch hands over the traceback as text."""
    if isinstance(error, ProcessExitedException):
        return RunError(f"{run.path}: {str(error).strip()}, perhaps for want of memory; {run.how_to_resume}")
    last_line = str(error).strip().splitlines()[-1]
    if is_shortage(last_line):
        return shortage_error(last_line, config, run, f"in one of {config.processes} processes", run.how_to_resume)
    name, _, message = last_line.partition(": ")
    return EffisegError(message) if name.startswith("effiseg.") else error
