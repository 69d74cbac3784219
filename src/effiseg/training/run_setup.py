"""All that a run needs before it trains: data, teachers, loss and start, read, checked and measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from effiseg.config.training import TrainConfig
from effiseg.data.datamodule import SegmentationDataModule
from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec, with_images_per_epoch
from effiseg.data.python_data import PythonData
from effiseg.data.statistics import describe_unlisted, summarize
from effiseg.distillation.teacher import Teacher
from effiseg.environment import describe_environment
from effiseg.errors import UsageError
from effiseg.files import read_json, write_json
from effiseg.losses.custom import Loss, check_custom_loss
from effiseg.messages import notice
from effiseg.results import EvaluationResult
from effiseg.run_folder import RunFolder
from effiseg.training.initialization import Initialization, load_initialization
from effiseg.training.run_checks import check_transfer
from effiseg.training.schedule import with_epochs_of_steps
from effiseg.training.teacher import evaluations_of_teachers, load_teachers


@dataclass(frozen=True)
class Setup:
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


def set_up(config: TrainConfig, run: RunFolder, python_data: PythonData | None, loss: Loss | None) -> Setup:
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
    return Setup(config, spec, data, teachers, loss, initial, results, statistics)


def _describe_data(config: TrainConfig, python_data: PythonData | None) -> DatasetSpec:
    """The description of the data set that a run trains on.

    Raises:
        DataError, UsageError: as `load_dataset_spec` and `with_images_per_epoch`.
    """
    spec = python_data.spec() if python_data else load_dataset_spec(config.data, config.data_root)
    return with_images_per_epoch(spec, config.images_per_epoch)


def class_statistics(
    config: TrainConfig, spec: DatasetSpec, data: SegmentationDataModule
) -> dict[str, dict[str, float]] | None:
    """`shares`: class → share of the labelled training pixels, 0..1; `weights`: class → weight in the loss.

    None where no class weights are asked for.
    """
    if config.loss.class_weights == "none" or not data.has_labels:
        return None
    statistics = summarize("train", data.mask_counts)
    if statistics.unlisted:
        notice(describe_unlisted(spec, statistics))
    weights = statistics.class_weights(config.loss.class_weights)
    return {
        "shares": dict(zip(spec.names, map(float, statistics.shares), strict=True)),
        "weights": dict(zip(spec.names, map(float, weights), strict=True)),
    }


def class_weight_tensor(run: RunFolder, config: TrainConfig) -> torch.Tensor | None:
    """(K,) float32 class weights of the run, or None for the rule `none` and for runs without labels."""
    if config.loss.class_weights == "none" or not run.class_statistics.is_file():
        return None
    return torch.tensor(list(read_json(run.class_statistics)["weights"].values()), dtype=torch.float32)
