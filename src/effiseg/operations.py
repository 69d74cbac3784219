"""What commands, functions and runs do with a model: score, label, export; from settings and from paths or objects."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from effiseg.config.evaluation import EvaluationConfig
from effiseg.config.export import ExportConfig
from effiseg.config.keywords import PathLike
from effiseg.config.prediction import PredictionConfig
from effiseg.errors import UsageError
from effiseg.nested import flatten
from effiseg.progress import Progress
from effiseg.run_folder import is_exported, output_folder, resolve_model

# What works is imported where it works: evaluating and exporting need nothing of training.
if TYPE_CHECKING:
    from torch import nn

    from effiseg.data.dataset_spec import DatasetSpec
    from effiseg.data.python_data import PythonData
    from effiseg.evaluation.predictions import PredictionFolder
    from effiseg.export.exporter import ExportReport
    from effiseg.models.segformer import SegFormer
    from effiseg.prediction.report import PredictionReport
    from effiseg.results import EvaluationResult

Model: TypeAlias = "PathLike | nn.Module"
"""A SegFormer, ours or transformers', or what the commands take as MODEL: a run, a model folder, a transformers folder,
a Hub id, a file."""
Data: TypeAlias = "PathLike | PythonData"
"""A data set's YAML file, a preset's name together with `data_root`, or a `PythonData`."""


def model_name(model: Model) -> str:
    """A model as results name it."""
    return os.fspath(model) if isinstance(model, str | os.PathLike) else "the model"


def data_name(data: Data) -> str:
    """A data set as results name it."""
    return os.fspath(data) if isinstance(data, str | os.PathLike) else data.reference


def data_set(data: Data, data_root: str | None) -> DatasetSpec:
    """The description of a data set.

    Raises:
        DataError: it breaks a rule.
    """
    from effiseg.data.dataset_spec import load_dataset_spec

    return load_dataset_spec(os.fspath(data), data_root) if isinstance(data, str | os.PathLike) else data.spec()


def trained_network(model: Model, refusal: str) -> SegFormer:
    """The network of a MODEL, or the one that is given.

    Args:
        model: see `Model`.
        refusal: said of an exported file.

    Raises:
        ModelError, UsageError: there is none, or it is an exported file.
    """
    if not isinstance(model, str | os.PathLike):
        from effiseg.models.conversion import as_segformer

        return as_segformer(model)
    found = resolve_model(model)
    if is_exported(found):
        raise UsageError(f"{os.fspath(model)}: an exported file {refusal}")
    from effiseg.models.pretrained import from_pretrained

    return from_pretrained(found)


def evaluate_as(
    config: EvaluationConfig,
    model: Model | PredictionFolder | None,
    data: Data,
    progress: Progress | None = None,
) -> EvaluationResult:
    """`evaluate` with its settings as one object; without a model those of `config.predictions` are scored.

    Raises:
        DataError, ModelError, UsageError: what is wrong, in one line.
    """
    from effiseg.evaluation.evaluator import evaluate as score
    from effiseg.evaluation.predictions import PredictionFolder
    from effiseg.inference.framing import Framing
    from effiseg.inference.network import load_network

    framing = Framing.of(config)
    spec = data_set(data, config.data_root)
    if model is None:
        assert config.predictions is not None
        model = PredictionFolder(config.predictions)
    if config.on == "ray":
        if not isinstance(model, str | os.PathLike) or not isinstance(data, str | os.PathLike):
            raise UsageError("on='ray' loads model and data in every actor: give their folders or files")
        from effiseg.evaluation.on_ray import evaluate_on_ray

        return evaluate_on_ray(config, os.fspath(model), spec, progress)
    source = model if isinstance(model, PredictionFolder) else load_network(model, device=config.device)
    return score(
        source, framing, spec, config.split, protocol=config.protocol, boundary=config.protocol == "full",
        workers=config.workers, progress=progress,
    )  # fmt: skip


def predict_as(config: PredictionConfig, model: Model, progress: Progress | None = None) -> PredictionReport:
    """`predict` with its settings as one object, in this process or by actors of a cluster.

    Raises:
        UsageError, ModelError, DataError: what is wrong, in one line.
    """
    if config.on == "ray":
        if not isinstance(model, str | os.PathLike):
            raise UsageError("on='ray' loads the model in every actor: give a folder or file, not a network in memory")
        from effiseg.prediction.lake import predict_on_ray

        return predict_on_ray(config, progress)
    from effiseg.prediction.predict import predict

    with output_folder(config.out, "predict") as folder:
        return predict(config, model, folder, progress)


def export_as(model: Model, config: ExportConfig) -> ExportReport:
    """`export_model` with its options as one object.

    Raises:
        UsageError, ModelError, DataError: what is wrong, in one line; no file is left.
    """
    from effiseg.export.checks import format_to_write

    format_to_write(config)  # before torch is loaded
    from effiseg.export.exporter import export_model as export
    from effiseg.models.pretrained import from_pretrained

    if not isinstance(model, str | os.PathLike):
        from effiseg.models.conversion import as_segformer

        model = as_segformer(model)
        on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
        return export(model if on_cpu else copy.deepcopy(model).cpu(), config, "the model")
    source = os.fspath(model)
    found = resolve_model(source)
    if is_exported(found):
        raise UsageError(f"{source}: is an exported file already; give the run or model folder that it came from")
    return export(from_pretrained(found), config, source)


def call_text(function: str, given: Mapping[str, Any]) -> str:
    """A call as results files record it."""
    return f"{function}({', '.join(f'{name}={value!r}' for name, value in flatten(given).items())})"
