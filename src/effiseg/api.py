"""What the commands do, as functions: `effiseg.train`, `evaluate`, `ablate`, `export_model`.

Settings have the names of the command line and of YAML files. Mistakes raise subclasses of `EffisegError` with one
line; nothing ends the process.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from effiseg.config.benchmark import BenchmarkConfig
from effiseg.config.comparison import AblationConfig
from effiseg.config.dataset import DataCheckConfig, DataConvertConfig, DataStatisticsConfig, SynthesizeConfig
from effiseg.config.evaluation import EvaluationConfig
from effiseg.config.export import ExportConfig
from effiseg.config.inspection import InspectionConfig
from effiseg.config.keywords import (
    AblationKeywords,
    BenchmarkKeywords,
    DataConvertKeywords,
    DataKeywords,
    DataStatisticsKeywords,
    EvaluationKeywords,
    ExportKeywords,
    InspectionKeywords,
    PathLike,
    PredictionKeywords,
    PretrainKeywords,
    PushKeywords,
    SynthesizeKeywords,
    TrainKeywords,
)
from effiseg.config.loss import LossName
from effiseg.config.parsing import keyword_layers, keyword_settings, make_settings, settings_dict, with_recipe_below
from effiseg.config.prediction import PredictionConfig
from effiseg.config.pretraining import PretrainConfig
from effiseg.config.publishing import PushConfig
from effiseg.config.signatures import signature_of
from effiseg.config.training import TrainConfig
from effiseg.errors import UsageError
from effiseg.nested import flatten, merge_settings
from effiseg.progress import Progress
from effiseg.run_folder import is_exported, resolve_model

# What works is imported where it works: evaluating and exporting need nothing of training.
if TYPE_CHECKING:
    from effiseg.data.check import CheckReport
    from effiseg.data.dataset_spec import DatasetSpec
    from effiseg.data.python_data import PythonData
    from effiseg.evaluation.predictions import PredictionFolder
    from effiseg.export.exporter import ExportReport
    from effiseg.inspection.results import NormInspection
    from effiseg.losses.custom import Loss
    from effiseg.models.segformer import SegFormer
    from effiseg.prediction.predict import PredictionReport
    from effiseg.results import BenchmarkResult, EvaluationResult
    from effiseg.runs import Comparison, Run

Model: TypeAlias = "PathLike | SegFormer"
"""A network, or what the commands take as MODEL: a run, a model folder, a transformers folder, a Hub id, a file."""
Data: TypeAlias = "PathLike | PythonData"
"""A data set's YAML file, a preset's name together with `data_root`, or a `PythonData`."""


@signature_of(TrainConfig, TrainKeywords)
def train(
    *,
    out: PathLike,
    data: PathLike | PythonData | None = None,
    loss: LossName | Mapping[str, Any] | Loss | None = None,
    config: PathLike | Sequence[PathLike] = (),
    **settings: Unpack[TrainKeywords],
) -> Run:
    """Train or distil a model in a new run folder, as `effiseg train` does.

    Every setting of `effiseg train --help` can be given, nested ones as dictionaries or by their dotted names:
    `optimizer={"lr": 1e-3}` is `**{"optimizer.lr": 1e-3}`. None is null where a setting can be null, and otherwise
    leaves it to the recipe, or else to its default.

    Args:
        out: the run folder to write; it must not exist yet.
        data: a data set's YAML file, a preset's name together with `data_root`, or a `PythonData`.
        loss: a loss by name, its settings, or a loss of your own: a function or nn.Module `loss(logits, target)`
            that returns a scalar, as torch's losses are; see `effiseg.losses.custom.custom_loss`.
        config: YAML files of settings, or names of shipped ones; they go over the recipe, and under all arguments.
        settings: any other setting.

    Returns:
        The finished run.

    Raises:
        UsageError, DataError, ModelError, RunError: what is wrong, in one line; nothing was written.
        Interrupted: Ctrl-C, or a notebook's stop button: the step was ended and saved; go on with
            `effiseg.resume`.

    Example:
        >>> small = {"image_size": (32, 64), "batch_size": 4, "workers": 0, "epochs": 1}
        >>> run = effiseg.train(data="colours/data.yaml", out="runs/b0", loss="dice_focal", **small)
        >>> run.finished, sorted(run.class_iou)
        (True, ['blue', 'grey', 'red'])
        >>> effiseg.train(data="colours/data.yaml", out="runs/again", epoch=3)
        Traceback (most recent call last):
        ...
        effiseg.errors.UsageError: effiseg.train: unknown key 'epoch'; did you mean 'epochs'?
    """
    from effiseg.data.python_data import PythonData
    from effiseg.runs import start_run

    objects = data if isinstance(data, PythonData) else None
    own_loss = None
    if loss is not None and not isinstance(loss, str | Mapping):
        own_loss, loss = loss, "custom"
    given = {"data": data if objects is None else objects.reference, "out": out, "loss": _named(loss), **settings}
    layers = keyword_layers(TrainConfig, "effiseg.train", _with_size_texts(given), config)
    return start_run(make_settings(TrainConfig, *with_recipe_below(TrainConfig, layers)), data=objects, loss=own_loss)


@signature_of(PretrainConfig, PretrainKeywords)
def pretrain(*, out: PathLike, config: PathLike | Sequence[PathLike] = (), **settings: Unpack[PretrainKeywords]) -> Run:
    """Make starting weights from drawn pictures in a new run folder, as `effiseg pretrain` does.

    Args:
        out: the run folder to write; it must not exist yet. `effiseg.train(init=OUT)` starts from it.
        config: YAML files of settings, or names of shipped ones.
        settings: any setting of `effiseg pretrain --help`.

    Returns:
        The finished run; its `transfer` says what it is worth where `transfer` names labelled data.

    Raises:
        UsageError, DataError, ModelError, RunError: what is wrong, in one line; nothing was written.
        Interrupted: the step was ended and saved; go on with `effiseg.resume`.

    Example:
        >>> small = {"image_size": (32, 64), "batch_size": 4, "workers": 0, "validate_every": 0}
        >>> run = effiseg.pretrain(out="runs/start", data="shapes", images=8, **small)
        >>> run.finished, run.config.images_per_epoch
        (True, 8)
    """
    from effiseg.runs import start_run

    given = {"out": out, **settings, "loss": _named(settings.get("loss"))}
    layers = keyword_layers(PretrainConfig, "effiseg.pretrain", _with_size_texts(given), config)
    return start_run(make_settings(PretrainConfig, *with_recipe_below(PretrainConfig, layers)).training())


def resume(run: PathLike, *, data: PythonData | None = None, loss: Loss | None = None) -> Run:
    """Go on with an interrupted run, as `effiseg train --resume` does; a finished one is left as it is.

    Args:
        run: the run folder.
        data: the data set that the run was started with, where that was a `PythonData`.
        loss: the loss that it was started with, where that was a function or nn.Module. What these two give must
            not have changed, or the run equals no run that was never interrupted.

    Raises:
        RunError, UsageError, DataError, ModelError: it cannot go on; one line says why.
        Interrupted: a signal came; the run can be resumed again.

    Example:
        >>> effiseg.resume("runs/students/baseline").finished
        True
    """
    from effiseg.runs import resume_run

    return resume_run(run, data=data, loss=loss)


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
    predicted = isinstance(model, PredictionFolder)
    workers = config.workers if config.workers is not None else 0 if predicted else 2
    source = model if isinstance(model, PredictionFolder) else load_network(model, device=config.device)
    return score(
        source, framing, spec, config.split, protocol=config.protocol, boundary=config.protocol == "full",
        workers=workers, progress=progress,
    )  # fmt: skip


@signature_of(PredictionConfig, PredictionKeywords)
def predict(
    model: Model,
    source: PathLike | Sequence[PathLike],
    out: PathLike,
    *,
    progress: Progress | None = None,
    **settings: Unpack[PredictionKeywords],
) -> PredictionReport:
    """Label images, videos and streams and write the outputs into a folder, as `effiseg predict` does.

    For labels in memory take `effiseg.Predictor`.

    Args:
        model: see `Model`.
        source: images or videos: files, a folder (with its subfolders), a glob; a webcam's number, or a stream's URL.
        out: folder for the outputs.
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
    from effiseg.prediction.predict import predict as run

    sources = [source] if isinstance(source, str | os.PathLike) else list(source)
    given = {"model": model_name(model), "source": sources, "out": out, **settings}
    return run(keyword_settings(PredictionConfig, "effiseg.predict", given), model, progress)


@signature_of(AblationConfig, AblationKeywords)
def ablate(
    *,
    out: PathLike,
    data: PathLike | None = None,
    config: PathLike | Sequence[PathLike] = (),
    **settings: Unpack[AblationKeywords],
) -> Comparison:
    """Train and compare teacher, baseline and strategies under one loop, metric and budget, as `effiseg ablate` does.

    Called again with the same folder it skips what is finished and goes on where it was cut. Every training setting
    can be given and then holds for every row; None is as in `effiseg.train`.

    Args:
        out: folder of the comparison.
        data: a data set's YAML file, or a preset's name together with `data_root`.
        config: YAML files of settings, or names of shipped ones, under all arguments.
        settings: any other setting of `effiseg ablate --help`.

    Raises:
        UsageError, DataError, ModelError, RunError: what is wrong, in one line.
        Interrupted: a signal came; the same call goes on from there.

    Example:
        >>> small = {"image_size": (32, 64), "batch_size": 4, "workers": 0, "epochs": 1, "latency_size": None}
        >>> rows = ["baseline", "dice_focal"]
        >>> comparison = effiseg.ablate(
        ...     data="colours/data.yaml", out="runs/rows", recipes=rows, teacher="runs/students/baseline", **small
        ... )
        >>> list(comparison.miou)
        ['teacher', 'baseline', 'dice_focal']
        >>> comparison.runs("dice_focal")[0].finished
        True
    """
    from effiseg.runs import compare

    given = {"data": data, "out": out, **settings, "loss": _named(settings.get("loss"))}
    layers = keyword_layers(AblationConfig, "effiseg.ablate", _with_size_texts(given), config)
    shared = merge_settings({}, *(layer for _, layer in layers))
    return compare(make_settings(AblationConfig, *layers), shared, command=_call("effiseg.ablate", layers[-1][1]))


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


def export_as(model: Model, config: ExportConfig) -> ExportReport:
    """`export_model` with its options as one object.

    Raises:
        UsageError, ModelError, DataError: what is wrong, in one line; no file is left.
    """
    from effiseg.export.checks import format_to_write

    format_to_write(config)  # before torch is loaded
    from effiseg.export.exporter import export_model as export
    from effiseg.models.pretrained import from_pretrained
    from effiseg.models.segformer import SegFormer

    if isinstance(model, SegFormer):
        on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
        return export(model if on_cpu else copy.deepcopy(model).cpu(), config, "the model")
    source = os.fspath(model)
    found = resolve_model(source)
    if is_exported(found):
        raise UsageError(f"{source}: is an exported file already; give the run or model folder that it came from")
    return export(from_pretrained(found), config, source)


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
    return run(config, _call("effiseg.run_benchmark", given), progress)


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
    return inspect_as(config, _call("effiseg.inspect_norms", given), model, data, out=out, progress=progress)


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


@signature_of(DataCheckConfig, DataKeywords)
def check_data(data: Data, *, progress: Progress | None = None, **settings: Unpack[DataKeywords]) -> CheckReport:
    """Every fault of a data set that would spoil training, as `effiseg data check` names them.

    Args:
        data: see `Data`.
        progress: called with (pairs done, pairs in all).
        settings: data_root.

    Raises:
        DataError: the check could not run.

    Example:
        >>> report = effiseg.check_data("colours/data.yaml")
        >>> report.faults, report.images
        ([], {'train': 14, 'val': 3, 'test': 3})
    """
    from effiseg.data.check import check_dataset

    config = keyword_settings(DataCheckConfig, "effiseg.check_data", {"data": data_name(data), **settings})
    return check_dataset(data_set(data, config.data_root), progress)


@signature_of(DataStatisticsConfig, DataStatisticsKeywords)
def data_statistics(data: Data, **settings: Unpack[DataStatisticsKeywords]) -> dict[str, Any]:
    """Pixel shares per class and split, and class weights, as `effiseg data stats --json` prints them.

    Args:
        data: see `Data`.
        settings: any other setting of `effiseg data stats --help`.

    Returns:
        See `effiseg.data.dataset_statistics.dataset_statistics`.

    Raises:
        DataError: the data set breaks a rule.

    Example:
        >>> statistics = effiseg.data_statistics("colours/data.yaml", splits=["val"])
        >>> sum(statistics["splits"]["val"]["shares"].values())
        1.0
    """
    from effiseg.data.dataset_statistics import dataset_statistics

    given = {"data": data_name(data), **settings}
    config = keyword_settings(DataStatisticsConfig, "effiseg.data_statistics", given)
    return dataset_statistics(config, data_set(data, config.data_root))


@signature_of(DataConvertConfig, DataConvertKeywords)
def convert_data(
    data: PathLike, out: PathLike, *, progress: Progress | None = None, **settings: Unpack[DataConvertKeywords]
) -> dict[str, int]:
    """Write a data set of any format as label PNGs, as `effiseg data convert` does.

    Args:
        data: a data set's YAML file, or a preset's name together with `data_root`.
        out: folder to write; new or empty.
        progress: called with (samples done, samples in all).
        settings: data_root; link, for symbolic links to the images instead of copies.

    Returns:
        Split → number of samples.

    Raises:
        DataError: the folder holds something, or a sample cannot be read.

    Example:
        >>> effiseg.convert_data("colours/data.yaml", "plain")
        {'train': 14, 'val': 3, 'test': 3}
    """
    from effiseg.data.convert import convert_dataset

    config = keyword_settings(DataConvertConfig, "effiseg.convert_data", {"data": data, "out": out, **settings})
    return convert_dataset(data_set(data, config.data_root), config.out, link=config.link, progress=progress)


@signature_of(SynthesizeConfig, SynthesizeKeywords)
def synthesize_scenes(
    folder: PathLike, *, progress: Progress | None = None, **settings: Unpack[SynthesizeKeywords]
) -> dict[str, int]:
    """Draw street scenes in the Cityscapes layout, as `effiseg data synthesize` does.

    Args:
        folder: folder to write; new, empty, or one of an earlier call, which is completed.
        progress: called with (scenes done, scenes in all).
        settings: scenes of train, val and test, their size, and their seed.

    Returns:
        Split → number of scenes; train on them with `data="cityscapes", data_root=folder`.

    Raises:
        DataError: the folder holds something else.

    Example:
        >>> effiseg.synthesize_scenes("scenes", train=2, val=1, size=(32, 64))
        {'train': 2, 'val': 1, 'test': 0}
    """
    from effiseg.scenes.synthetic import synthesize

    config = keyword_settings(SynthesizeConfig, "effiseg.synthesize_scenes", {"folder": folder, **settings})
    synthesize(config.folder, config.counts, *config.size, config.seed, progress)
    return config.counts


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
        return model
    found = resolve_model(model)
    if is_exported(found):
        raise UsageError(f"{os.fspath(model)}: an exported file {refusal}")
    from effiseg.models.pretrained import from_pretrained

    return from_pretrained(found)


def size_text(size: Any) -> Any:
    """(height, width) as "HEIGHTxWIDTH"; anything else as it is."""
    return "x".join(map(str, size)) if isinstance(size, tuple | list) else size


def _with_size_texts(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with sizes as config.yaml has them."""
    return {
        name: size_text(value) if name in ("image_size", "latency_size") else value for name, value in given.items()
    }


def _named(loss: str | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The settings of a loss that is given by its name."""
    return {"name": loss} if isinstance(loss, str) else loss


def _call(function: str, given: Mapping[str, Any]) -> str:
    """A call as results files record it."""
    return f"{function}({', '.join(f'{name}={value!r}' for name, value in flatten(given).items())})"
