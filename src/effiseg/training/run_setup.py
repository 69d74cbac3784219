"""All that a run needs before it trains: data, teachers, loss and start, read, checked and measured."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from effiseg.config.training import INIT_WORDS, TrainConfig, one_or_several
from effiseg.data.datamodule import SegmentationDataModule
from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec, preset_names, with_images_per_epoch
from effiseg.data.python_data import PythonData
from effiseg.data.shards.remote import is_remote
from effiseg.data.statistics import describe_unlisted, summarize
from effiseg.distillation.teacher import Teacher
from effiseg.environment import describe_environment
from effiseg.errors import UsageError
from effiseg.files import read_json, write_json
from effiseg.losses.custom import Loss, check_custom_loss
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


def with_absolute_paths(config: TrainConfig) -> TrainConfig:
    """The same settings with local paths made absolute, so that a run resumes from any folder."""

    def absolute(path: str | None) -> str | None:
        return str(Path(path).resolve()) if path is not None and Path(path).exists() else path

    def known_or_absolute(data: str | None) -> str | None:
        """A preset's name stays one, also beside a folder of that name."""
        return data if data in preset_names() else absolute(data)

    return replace(
        config,
        data=known_or_absolute(config.data) or config.data,
        data_root=absolute(config.data_root),
        teacher=one_or_several([absolute(path) or path for path in config.teachers]),
        unlabeled=[
            entry if is_remote(entry) else str(Path(entry).expanduser().resolve()) for entry in config.unlabeled
        ],
        init=config.init if config.init in INIT_WORDS else absolute(config.init),
        transfer=replace(
            config.transfer, data=known_or_absolute(config.transfer.data), data_root=absolute(config.transfer.data_root)
        ),
    )


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
        print(f"effiseg train: {describe_unlisted(spec, statistics)}", file=sys.stderr)
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
