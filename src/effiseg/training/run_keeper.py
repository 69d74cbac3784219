"""The callback that keeps a run: seeds, learning rate, metrics, evaluations, checkpoints and stopping.

Lightning sees a run as one long epoch over the remaining batches, so that loader workers never restart and a
run may go on from any step; the epochs users count are kept here.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any, cast

import lightning as L
import torch
import torch.distributed
from torch import Tensor

from effiseg.allocator import keep_freed_memory
from effiseg.config.training import TrainConfig
from effiseg.data.datamodule import SegmentationDataModule
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.evaluation.evaluator import evaluate
from effiseg.files import write_json
from effiseg.inference.framing import Framing
from effiseg.inference.network import trained_network
from effiseg.messages import logged_to
from effiseg.models.pretrained import save_pretrained
from effiseg.results import EvaluationResult
from effiseg.run_folder import RunFolder
from effiseg.training.batch_sheet import save_training_batch
from effiseg.training.checkpointing import TrainingState, restore, save_checkpoint, write_tensors
from effiseg.training.finite_loss import FiniteLoss
from effiseg.training.interruption import SignalWatch
from effiseg.training.loader_advice import LoaderJudge
from effiseg.training.optimization import learning_rate, set_learning_rate
from effiseg.training.prediction_sheet import sheet_of_predictions
from effiseg.training.progress import TrainingProgress, quiet_lightning
from effiseg.training.schedule import Schedule
from effiseg.training.segmentation_task import SegmentationTask
from effiseg.training.step_timing import PHASES, Seconds, StepTiming, shares, since
from effiseg.training.tapering import gate_of_step
from effiseg.training.trackers import Trackers


class _StopValidation(Exception):  # noqa: N818 - control flow, not an error
    """A signal came while evaluating; the epoch's evaluation is left for later."""


class RunKeeper(L.Callback):
    """Keeps one run.

    Args:
        config: the run's settings.
        run: where its files go.
        spec: the data set; its `val` split is evaluated where there is one.
        data: the training samples, and what is cached of both splits.
        schedule: the run's length.
        state: where it stands.
        watch: where signals are received.
        optimizer_state: the optimizer's state at that point, or None at the start.
        scaler_state: the precision plugin's state at that point.
    """

    def __init__(
        self,
        config: TrainConfig,
        run: RunFolder,
        spec: DatasetSpec,
        data: SegmentationDataModule,
        schedule: Schedule,
        state: TrainingState,
        watch: SignalWatch,
        optimizer_state: dict[str, Any] | None = None,
        scaler_state: dict[str, Any] | None = None,
    ) -> None:
        self.config = config
        self.run = run
        self.spec = spec
        self.data = data
        self.schedule = schedule
        self.state = state
        self.watch = watch
        self.optimizer_state = optimizer_state
        self.scaler_state = scaler_state
        self.passes = state.step * schedule.accumulate
        self.sums: dict[str, Tensor] = {}
        self.progress: TrainingProgress | None = None
        self.timing: StepTiming | None = None
        self.trackers: Trackers | None = None
        self.last_save = self.clock = self.first_step_began = 0.0
        self.epoch_images = 0
        self.epoch_began: Seconds = dict.fromkeys(PHASES, 0.0)
        self.loader_judge = LoaderJudge(config)
        self.batch_ids: list[str] = []

    def __getstate__(self) -> dict[str, Any]:
        """The state that a process of data-parallel training receives."""
        return {**self.__dict__, "watch": None}

    def __setstate__(self, values: dict[str, Any]) -> None:
        """Restoration in a process of data-parallel training, which listens for signals from here on."""
        self.__dict__.update(values)
        self.watch = SignalWatch(spawned=True).__enter__()
        logged_to(self.run.log).__enter__()  # until this process ends
        quiet_lightning()

    # Lightning's hooks, in the order they are called

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the optimizer where the run stood, and make up for an evaluation that was cut."""
        if trainer.strategy.root_device.type == "cpu":
            keep_freed_memory()
        if self.optimizer_state is not None:
            scale = trainer.precision_plugin.load_state_dict
            restore(trainer.optimizers[0], self.optimizer_state, scale, self.scaler_state, self.run.last_checkpoint)
            self.optimizer_state = None
        self.progress = TrainingProgress(
            self.run.path.name,
            self.schedule.epochs,
            self.schedule.total_steps,
            self.state.step,
            enabled=trainer.is_global_zero,
        )
        if trainer.is_global_zero and self.config.trackers:
            self.trackers = Trackers(self.config, self.run)
        self.last_save = self.clock = time.monotonic()
        device = pl_module.device
        self.finite = FiniteLoss(self.config, self.run, on_gpu=device.type != "cpu")
        self.timing = cast(SegmentationTask, pl_module).timing = StepTiming(device)
        self.sums = {k: torch.tensor(v, dtype=torch.float64, device=device) for k, v in self.state.epoch_sums.items()}
        if self.state.validation_pending:
            self.finish_epoch(trainer, cast(SegmentationTask, pl_module))
        self.stop_before_training(trainer)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listen for signals instead of Lightning, which would end training without a checkpoint."""
        self.watch.listen()
        self.stop_before_training(trainer)
        assert self.timing is not None
        self.first_step_began = time.monotonic()
        self.timing.begin()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Make this pass's randomness (drop path, dropout) a function of seed, pass and process alone."""
        assert self.timing is not None
        self.batch_ids = [*batch["id"], *batch.get("unlabeled", {}).get("id", [])]
        if self.passes == 0 and trainer.is_global_zero:
            save_training_batch(self.run.training_batch, batch, self.spec.palette)
        torch.manual_seed(pass_seed(self.config.seed, self.passes, trainer.global_rank))
        rate = learning_rate(self.state.step, self.schedule.total_steps, self.config.optimizer)
        set_learning_rate(trainer.optimizers[0], rate)
        cast(SegmentationTask, pl_module).begin_step(self.state.step, self.schedule.total_steps)
        self.timing.end("other")

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        """Note where forward ends, and look at what came of it."""
        assert self.timing is not None
        terms = cast(SegmentationTask, pl_module).latest_terms
        self.finite.look(terms, self.batch_ids, self.state.step + 1, trainer.optimizers[0].param_groups[0]["lr"])
        self.timing.end("forward")

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note where backward ends."""
        assert self.timing is not None
        self.timing.end("backward")

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the pass; after an optimizer step see whether to evaluate, save or stop."""
        assert self.timing is not None
        assert self.progress is not None
        task = cast(SegmentationTask, pl_module)
        self.passes += 1
        stepped = self.passes % self.schedule.accumulate == 0
        if stepped:
            task.after_optimizer_step()
        self.timing.end("optimizer" if stepped else "other")
        if batch_idx == 0 and self.config.compile:
            self.progress.say(f"compiled; the first step took {time.monotonic() - self.first_step_began:.0f} s")
        self.epoch_images += len(self.batch_ids) * trainer.world_size
        for name, value in task.latest_terms.items():
            self.sums[name] = self.sums.get(name, torch.zeros((), dtype=torch.float64, device=value.device)) + value
        if not stepped:
            self.timing.end("other")
            return
        self.state.step += 1
        if self.progress.is_due():  # reading the loss makes a GPU wait
            self.progress.step(self.state.step, self.epoch_number, float(task.latest_terms["loss"]))
        self.timing.end("other")
        epoch_ends = self.schedule.ends_epoch(self.state.step)
        if trainer.is_global_zero and (advice := self.loader_judge.after_step(self.timing, epoch_ends=epoch_ends)):
            self.progress.say(advice)
        if epoch_ends:
            self.finish_epoch(trainer, task)
            self.timing.begin()
        # Asked once: a signal that comes after this line waits for the next step, or it would stop without saving.
        stop, due = self.agreed(trainer, self.signal_received, self.checkpoint_is_due)
        self.timing.end("other")
        if not epoch_ends and (stop or due):
            self.finite.before_saving(task, self.state.step)
            self.save(trainer, task)
            self.timing.begin()
        if stop or self.state.stopped_early or self.state.step >= self.schedule.total_steps:
            trainer.should_stop = True

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """End of the progress bar."""
        self.close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """End of the progress bar."""
        self.close()

    def close(self) -> None:
        """Take the progress bar away."""
        if self.progress is not None:
            self.progress.stop()
        if self.trackers is not None and not self.schedule.is_over(self.state):
            self.trackers.finish(None)

    # What the hooks do

    @property
    def epoch_number(self) -> int:
        """The epoch of the last step done, 1-based."""
        return (self.state.step - 1) // self.schedule.steps_per_epoch + 1

    @property
    def signal_received(self) -> bool:
        """Whether this process was asked to stop."""
        return self.watch.received is not None

    @property
    def checkpoint_is_due(self) -> bool:
        """Whether the last checkpoint is older than the settings allow."""
        return time.monotonic() - self.last_save >= 60 * self.config.checkpoint_minutes

    def agreed(self, trainer: L.Trainer, *wishes: bool) -> list[bool]:
        """For each wish, whether any process has it; all of them must ask, and all get the same answers."""
        if trainer.world_size == 1:
            return list(wishes)
        flags = torch.tensor([float(wish) for wish in wishes], device=trainer.strategy.root_device)
        torch.distributed.all_reduce(flags, op=torch.distributed.ReduceOp.MAX)
        return [flag > 0 for flag in flags.tolist()]

    def stop_before_training(self, trainer: L.Trainer) -> None:
        """Keep Lightning's loop from starting when a signal came already, or the evaluation made up for ends it."""
        ended = self.state.stopped_early or self.state.step >= self.schedule.total_steps
        if ended or any(self.agreed(trainer, self.signal_received)):
            trainer.should_stop = True

    def finish_epoch(self, trainer: L.Trainer, task: SegmentationTask) -> None:
        """Evaluate on val, write the epoch's row, keep the best weights, save."""
        state = self.state
        self.finite.before_saving(task, state.step)
        if not state.validation_pending:
            state.history.append(self.epoch_row(trainer))
            self.sums, self.epoch_images = {}, 0
        row = state.history[-1]
        task.begin_step(state.step, self.schedule.total_steps)
        if trainer.is_global_zero and self.epoch_number in self.config.keep_epochs:
            save_pretrained(task.evaluated_model, self.run.snapshot(self.epoch_number))
        try:
            result = self.validate(task)
        except _StopValidation:
            state.validation_pending = True
            self.save(trainer, task)
            return
        except Exception:
            # The epoch is not lost by it. Several processes cannot save, because the others may not come to it.
            if trainer.world_size == 1:
                state.validation_pending = True
                self.save(trainer, task)
            raise
        state.validation_pending = False
        if result is not None:
            row["val_miou"], row["val_pixel_accuracy"] = result.miou, result.pixel_accuracy
            if trainer.is_global_zero:
                write_json(self.run.validation, {"step": state.step, "result": result.to_dict()})
                if self.trackers:
                    sheet = sheet_of_predictions(task.evaluated_model, self.spec, task.device)
                    self.trackers.sheet(sheet, state.step)
            if task.gate == 0:  # only then is the network the one that is written
                self.compare(trainer, task, result.miou or 0.0, int(row["epoch"] or 0))
        self.save(trainer, task)
        if trainer.is_global_zero:
            self.run.write_metrics(state.history)
            if self.trackers:
                self.trackers.scalars(row)
        assert self.progress is not None
        self.progress.epoch(row, state.step)
        if trainer.is_global_zero and (status := self.data.cache_status()):
            self.progress.say(status)

    def compare(self, trainer: L.Trainer, task: SegmentationTask, miou: float, epoch: int) -> None:
        """Keep the weights if they are the best so far, and see whether better ones are still to be waited for."""
        state = self.state
        if not (state.best_miou is not None and miou <= state.best_miou):  # nor is any number less than NaN
            state.best_miou, state.best_epoch = miou, epoch
            self.save_best(trainer, task)
        patience = self.config.early_stop_epochs
        assert state.best_epoch is not None
        state.stopped_early = patience is not None and epoch - state.best_epoch >= patience

    def epoch_row(self, trainer: L.Trainer) -> dict[str, float | int | None]:
        """The finished epoch's means over its passes and over all processes."""
        passes = self.schedule.steps_of_epoch(self.state.step) * self.schedule.accumulate
        means = {name: self.process_mean(trainer, total) / passes for name, total in self.sums.items()}
        assert self.timing is not None
        now = self.timing.seconds()
        spent, self.epoch_began = since(self.epoch_began, now), now
        device = trainer.strategy.root_device
        seconds = {k: self.process_mean(trainer, torch.tensor(v, device=device)) for k, v in spent.items()}
        rate = learning_rate(self.state.step - 1, self.schedule.total_steps, self.config.optimizer)
        taper = self.config.taper
        gate = gate_of_step(self.state.step - 1, self.schedule.total_steps, taper)
        unlabeled = passes * self.config.processes * self.data.unlabeled_per_pass
        return {
            "epoch": self.epoch_number,
            "step": self.state.step,
            "lr": rate,
            **({} if taper.norms == "none" else {"norm_gate": gate}),
            **({"unlabeled_images": unlabeled} if unlabeled else {}),
            **means,
            "images_per_second": self.epoch_images / sum(seconds.values()),
            **shares(seconds),
        }

    def process_mean(self, trainer: L.Trainer, value: Tensor) -> float:
        """The mean over the processes; of the loss terms, only those of distillation differ between them."""
        if trainer.world_size == 1:
            return float(value)
        total = value.clone()
        torch.distributed.all_reduce(total)
        return float(total) / trainer.world_size

    def validate(self, task: SegmentationTask) -> EvaluationResult | None:
        """Evaluate the weights that would be saved, when this epoch is to be evaluated."""
        every, last = self.config.validate_every, self.state.step >= self.schedule.total_steps
        due = last if every == 0 else last or self.epoch_number % every == 0
        if "val" not in self.spec.splits or not due:
            return None
        return evaluate(
            trained_network(task.evaluated_model, task.device),
            Framing(batch_size=self.config.batch_size_per_pass),
            self.spec,
            "val",
            protocol=self.config.protocol,
            workers=self.config.workers,
            progress=self.validation_progress,
            across_processes=self.config.processes > 1,
            cache=self.data.val_cache,
        )

    def validation_progress(self, images: int, total: int) -> None:
        """Show the evaluation's progress; leave it when a signal came."""
        assert self.progress is not None
        self.progress.validating(images, total)
        # With several processes all must stay in step, so the evaluation is finished first.
        if self.signal_received and self.config.processes == 1:
            raise _StopValidation

    def save(self, trainer: L.Trainer, task: SegmentationTask) -> None:
        """Write last.ckpt; all processes must call it."""
        now = time.monotonic()
        self.state.train_seconds += now - self.clock
        self.clock = self.last_save = now
        self.state.epoch_sums = {name: self.process_mean(trainer, value) for name, value in self.sums.items()}
        if trainer.is_global_zero:
            save_checkpoint(
                self.run.last_checkpoint,
                task.state_dict(),
                trainer.optimizers[0].state_dict(),
                trainer.precision_plugin.state_dict(),
                self.state,
            )

    def save_best(self, trainer: L.Trainer, task: SegmentationTask) -> None:
        """Write best.ckpt: the evaluated weights and how good they are."""
        if trainer.is_global_zero:
            write_tensors(
                self.run.best_checkpoint,
                {
                    "model": task.evaluated_model.state_dict(),
                    "epoch": self.state.best_epoch,
                    "val_miou": self.state.best_miou,
                },
            )


def pass_seed(seed: int, passes: int, process: int) -> int:
    """A 63-bit seed that differs for every (seed, pass, process)."""
    digest = hashlib.blake2b(f"{seed}/{passes}/{process}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
