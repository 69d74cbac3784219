"""Finished models in use, as functions: scored, asked, written for engines, timed, inspected, uploaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack

from effiseg.api.speech import speaks_python
from effiseg.config.benchmark import BenchmarkConfig
from effiseg.config.evaluation import EvaluationConfig
from effiseg.config.export import ExportConfig
from effiseg.config.inspection import InspectionConfig
from effiseg.config.keywords import (
    BenchmarkKeywords,
    EvaluationKeywords,
    ExportKeywords,
    InspectionKeywords,
    PathLike,
    PredictionKeywords,
    PushKeywords,
)
from effiseg.config.parsing import keyword_settings, settings_dict
from effiseg.config.prediction import PredictionConfig
from effiseg.config.publishing import PushConfig
from effiseg.config.signatures import signature_of
from effiseg.operations import (
    Data,
    Model,
    call_text,
    data_name,
    data_set,
    evaluate_as,
    export_as,
    model_name,
    predict_as,
    trained_network,
)
from effiseg.progress import Progress
from effiseg.run_folder import resolve_model

# What works is imported where it works: evaluating and exporting need nothing of training.
if TYPE_CHECKING:
    from effiseg.evaluation.predictions import PredictionFolder
    from effiseg.export.exporter import ExportReport
    from effiseg.inspection.results import NormInspection
    from effiseg.prediction.report import PredictionReport
    from effiseg.results import BenchmarkResult, EvaluationResult


@speaks_python
@signature_of(EvaluationConfig, EvaluationKeywords)
def evaluate(
    model: Model | PredictionFolder,
    data: Data,
    split: str = "val",
    *,
    progress: Progress | None = None,
    **settings: Unpack[EvaluationKeywords],
) -> EvaluationResult:
    """Score a model on a split, as `effiseg evaluate` does.

    Args:
        model: see `Model`; or label PNGs of any software, as `effiseg.evaluation.predictions.PredictionFolder`. A
            network is scored in its deploy form.
        data: see `Data`.
        split: train, val or test.
        progress: called with (images done, images in all).
        settings: any other setting of `effiseg evaluate --help`.

    Raises:
        DataError, ModelError, UsageError: what is wrong, in one line.

    Example:
        >>> result = effiseg.evaluate("runs/students/baseline", "colours/data.yaml", "test", workers=0)
        >>> result.images, list(result.class_iou)
        (3, ['grey', 'red', 'blue'])
        >>> 0 <= result.miou <= 100
        True
    """
    from effiseg.evaluation.predictions import PredictionFolder

    folder = os.fspath(model.path) if isinstance(model, PredictionFolder) else None
    name = None if isinstance(model, PredictionFolder) else model_name(model)
    given = {"model": name, "predictions": folder, "data": data_name(data), "split": split, **settings}
    return evaluate_as(keyword_settings(EvaluationConfig, "effiseg.evaluate", given), model, data, progress)


@speaks_python
@signature_of(PredictionConfig, PredictionKeywords)
def predict(
    model: Model,
    source: PathLike | Sequence[PathLike],
    out: PathLike | None = None,
    *,
    progress: Progress | None = None,
    **settings: Unpack[PredictionKeywords],
) -> PredictionReport:
    """Label images, videos and streams and write the outputs into a folder, as `effiseg predict` does.

    For labels in memory take `effiseg.Predictor`.

    Args:
        model: see `Model`.
        source: images or videos: files, a folder (with its subfolders), a glob; a webcam's number, or a stream's URL.
        out: folder for the outputs; None makes runs/predict, or one with a number.
        progress: called with (images done, images in all).
        settings: any other setting of `effiseg predict --help`.

    Returns:
        What was done; files that could not be read are named in it.

    Raises:
        UsageError, ModelError: what is wrong, in one line.

    Example:
        >>> report = effiseg.predict("runs/students/baseline", "colours/images/val", "labelled", save=["labels"])
        >>> report.images, report.unreadable
        (3, {})
    """
    sources = [source] if isinstance(source, str | os.PathLike) else list(source)
    given = {"model": model_name(model), "source": sources, "out": out, **settings}
    return predict_as(keyword_settings(PredictionConfig, "effiseg.predict", given), model, progress)


@speaks_python
@signature_of(ExportConfig, ExportKeywords)
def export_model(model: Model, out: PathLike, **settings: Unpack[ExportKeywords]) -> ExportReport:
    """Write a model as a file for an engine, checked, as `effiseg export` does.

    Args:
        model: a network, run, model folder, transformers folder or Hub id.
        out: the file; its suffix says the format.
        settings: any other setting of `effiseg export --help`.

    Returns:
        What was written and how near it is to the model; also beside the file as FILE.json.

    Raises:
        UsageError, ModelError, DataError: what is wrong, in one line; no file is left.

    Example:
        >>> report = effiseg.export_model("runs/students/baseline", "student.onnx", output="labels")
        >>> report.record.input_size
        (32, 64)
        >>> result = effiseg.evaluate(report.file, "colours/data.yaml", workers=0)
        >>> result.images
        3
    """
    return export_as(model, keyword_settings(ExportConfig, "effiseg.export_model", {"out": out, **settings}))


@speaks_python
@signature_of(BenchmarkConfig, BenchmarkKeywords)
def run_benchmark(
    models: PathLike | Sequence[PathLike], *, progress: Progress | None = None, **settings: Unpack[BenchmarkKeywords]
) -> BenchmarkResult:
    """Time models in the engines that run them, in turns, as `effiseg benchmark` does.

    Scripts that call it need `if __name__ == "__main__":`: every contender has a process of its own.

    Args:
        models: run folders, model folders, transformers folders, Hub ids or exported files.
        progress: called with (passes done, passes in all).
        settings: any other setting of `effiseg benchmark --help`.

    Raises:
        UsageError, ModelError: nothing can be measured; one line says why.

    Example:
        >>> few = {"image_size": (32, 64), "rounds": 1, "passes": 2, "warmup": 1, "threads": 1}
        >>> result = effiseg.run_benchmark("runs/students/baseline", **few)
        >>> [len(row.samples_ms) for row in result.rows]
        [2]
    """
    from effiseg.benchmark.run import run_benchmark as run

    listed = [models] if isinstance(models, str | os.PathLike) else list(models)
    given: dict[str, Any] = {"models": listed, **settings}
    config = keyword_settings(BenchmarkConfig, "effiseg.run_benchmark", given)
    return run(config, call_text("effiseg.run_benchmark", given), progress)


@speaks_python
@signature_of(InspectionConfig, InspectionKeywords)
def inspect_norms(
    model: Model,
    data: Data,
    *,
    out: PathLike | None = None,
    progress: Progress | None = None,
    **settings: Unpack[InspectionKeywords],
) -> NormInspection:
    """Fit lines and tanhs to what every norm of a model does, as `effiseg inspect-norms` does.

    Args:
        model: a network, run, model folder, transformers folder or Hub id.
        data: see `Data`; its classes need not be the model's.
        out: folder for norms.json, the table and the figures; None writes nothing.
        progress: called with (steps done, steps in all).
        settings: any other setting of `effiseg inspect-norms --help`.

    Raises:
        DataError, ModelError, UsageError: what is wrong, in one line.

    Example:
        >>> inspection = effiseg.inspect_norms("runs/students/baseline", "colours/data.yaml", images=1)
        >>> len(inspection.norms), inspection.norms[0].may_become in ("dyt", "dyl", "neither")
        (30, True)
    """
    given: dict[str, Any] = {"model": model_name(model), "data": data_name(data), **settings}
    config = keyword_settings(InspectionConfig, "effiseg.inspect_norms", given)
    return inspect_as(config, call_text("effiseg.inspect_norms", given), model, data, out=out, progress=progress)


def inspect_as(
    config: InspectionConfig,
    command: str,
    model: Model,
    data: Data,
    *,
    out: PathLike | None = None,
    progress: Progress | None = None,
) -> NormInspection:
    """`inspect_norms` with its settings as one object, and the command to record.

    Raises:
        DataError, ModelError, UsageError: what is wrong, in one line.
    """
    from effiseg.allocator import keep_freed_memory
    from effiseg.environment import describe_environment, resolve_device
    from effiseg.inspection.inspector import inspect_norms as inspect
    from effiseg.inspection.writing import check_out, write_inspection

    if out is not None:
        check_out(out)  # before minutes of work
    network = trained_network(model, "has no norms to look into; give the model folder")
    spec = data_set(data, config.data_root)
    device = resolve_device(config.device)
    if device == "cpu":
        keep_freed_memory()
    inspection = inspect(
        network, spec, config.split, config.images, image_size=config.image_size, seed=config.seed, device=device,
        progress=progress, source=config.model,
    )  # fmt: skip
    inspection.environment = describe_environment()
    inspection.command = command
    inspection.settings = settings_dict(config)
    if out is not None:
        write_inspection(inspection, out)
    return inspection


@speaks_python
@signature_of(PushConfig, PushKeywords)
def push(model: PathLike, repository: str, **settings: Unpack[PushKeywords]) -> str:
    """Upload a model folder to the Hugging Face Hub, as `effiseg push` does.

    Args:
        model: run folder or model folder.
        repository: owner/name; it is made where there is none.
        settings: private, of a repository that is made; revision, the branch.

    Returns:
        The address of the commit.

    Raises:
        UsageError, ModelError, ResourceError: what is wrong, in one line.
    """
    from effiseg.models import hub

    given = {"model": model, "repository": repository, **settings}
    config = keyword_settings(PushConfig, "effiseg.push", given)
    upload = hub.plan_upload(resolve_model(config.model), config.repository)
    return hub.push(upload, private=config.private, revision=config.revision)
