"""What the commands do, as functions: `effiseg.train`, `evaluate`, `ablate`, `export_model`.

Settings have the names of the command line and of YAML files. Mistakes raise subclasses of `EffisegError` with one
line; nothing ends the process.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from effiseg.config.comparison import AblationConfig
from effiseg.config.data import AugmentPreset, Resize, parse_image_size
from effiseg.config.engine import ExportFormat, Output, Precision
from effiseg.config.export import ExportConfig
from effiseg.config.loss import LossName
from effiseg.config.parsing import Layer, file_layers, make_settings, with_recipe_below
from effiseg.config.training import Cache, Device, Protocol, TrainConfig
from effiseg.config.training import Precision as TrainingPrecision
from effiseg.errors import UsageError
from effiseg.nested import flatten, merge_settings, nest
from effiseg.run_folder import is_exported, resolve_model

# What works is imported where it works: evaluating and exporting need nothing of training.
if TYPE_CHECKING:
    from effiseg.data.python_data import PythonData
    from effiseg.export.exporter import ExportReport
    from effiseg.inference.predictor import Mode
    from effiseg.losses.custom import Loss
    from effiseg.models.segformer import SegFormer
    from effiseg.results import EvaluationResult
    from effiseg.runs import Comparison, Run

PathLike = str | os.PathLike[str]
Model: TypeAlias = "PathLike | SegFormer"
"""A network, or what the commands take as MODEL: a run, a model folder, a transformers folder, a Hub id, a file."""
ImageSize = str | tuple[int, int]
"""(height, width) in pixels, or "HEIGHTxWIDTH"."""


def train(
    *,
    data: PathLike | PythonData | None = None,
    out: PathLike,
    recipe: PathLike | None = None,
    config: PathLike | Sequence[PathLike] = (),
    data_root: PathLike | None = None,
    teacher: PathLike | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    image_size: ImageSize | None = None,
    augment: AugmentPreset | None = None,
    model: Mapping[str, Any] | None = None,
    loss: LossName | Mapping[str, Any] | Loss | None = None,
    distillation: Mapping[str, Any] | None = None,
    optimizer: Mapping[str, Any] | None = None,
    seed: int | None = None,
    device: Device | None = None,
    precision: TrainingPrecision | None = None,
    workers: int | None = None,
    cache: Cache | None = None,
    **settings: Any,
) -> Run:
    """Train or distil a model in a new run folder, as `effiseg train` does.

    None leaves a setting to the recipe, or else to its default. Every other setting of `effiseg train --help` can
    be given too, nested ones as dictionaries or by their dotted names: `optimizer={"lr": 1e-3}` is
    `**{"optimizer.lr": 1e-3}`.

    Args:
        data: a data set's YAML file, a preset's name together with `data_root`, or a `PythonData`.
        out: the run folder to write; it must not exist yet.
        recipe: name of a recipe (default: baseline) or a YAML file.
        config: YAML files of settings, or names of shipped ones; they go over the recipe, and under all arguments.
        data_root: folder of the data set.
        teacher: whom to learn from, for recipes that distil: a run, model folder or transformers folder.
        epochs: passes over the training split.
        batch_size: images per optimizer step.
        image_size: the network's input.
        augment: how images are varied: standard, paper or none.
        model: settings of the network, as `{"variant": "b1"}`.
        loss: a loss by name, its settings, or a loss of your own: a function or nn.Module `loss(logits, target)`
            that returns a scalar, as torch's losses are; see `effiseg.losses.custom.custom_loss`.
        distillation: weights and knobs of the distillation terms.
        optimizer: settings of the optimizer, as `{"lr": 1e-3}`.
        seed: seed of everything random.
        device: auto, cpu or cuda.
        precision: "32", "bf16" or "16".
        workers: loader processes; 0 reads in this process.
        cache: keep decoded images: off, disk or ram.
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
    if loss is not None and not isinstance(loss, (str, Mapping)):
        own_loss, loss = loss, "custom"
    named = {"name": loss} if isinstance(loss, str) else loss
    given = given_settings(
        settings, data=data if objects is None else objects.reference, out=out, recipe=recipe, data_root=data_root,
        teacher=teacher, epochs=epochs, batch_size=batch_size, image_size=image_size, augment=augment, model=model,
        loss=named, distillation=distillation, optimizer=optimizer, seed=seed, device=device, precision=precision,
        workers=workers, cache=cache,
    )  # fmt: skip
    layers = with_recipe_below(TrainConfig, settings_layers("effiseg.train", config, given))
    return start_run(make_settings(TrainConfig, *layers), data=objects, loss=own_loss)


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


def evaluate(
    model: Model,
    data: PathLike | PythonData,
    split: str = "val",
    *,
    data_root: PathLike | None = None,
    protocol: Protocol = "full",
    image_size: ImageSize | None = None,
    resize: Resize | None = None,
    batch_size: int = 4,
    device: Device = "auto",
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
    mode: Mode = "whole",
    window: ImageSize | None = None,
    stride: int | None = None,
    flip: bool = False,
) -> EvaluationResult:
    """Score a model on a split, as `effiseg evaluate` does.

    Args:
        model: a network, run, model folder, transformers folder, Hub id, or a file that `effiseg export` wrote.
        data: a data set's YAML file, a preset's name together with `data_root`, or a `PythonData`.
        split: train, val or test.
        data_root: folder of the data set.
        protocol: full: labels at their original size. quarter: labels at a quarter of the network's input.
        image_size: the network's input; default: the model's own.
        resize: keep_ratio or fixed; default: the model's own.
        batch_size: images of one forward pass.
        device: auto, cpu or cuda; exported files run on the CPU.
        workers: loader processes; 0 reads in this process.
        progress: called with (images done, images in all).
        mode: whole, or slide as in `Predictor`.
        window: slide: size of the window; default: the model's input.
        stride: slide: pixels from one window to the next; default: two thirds of it.
        flip: average with the mirror image's logits.

    Raises:
        DataError, ModelError, UsageError: what is wrong, in one line.

    Example:
        >>> result = effiseg.evaluate("runs/students/baseline", "colours/data.yaml", "test", workers=0)
        >>> result.images, list(result.class_iou)
        (3, ['grey', 'red', 'blue'])
        >>> 0 <= result.miou <= 100
        True
    """
    from effiseg.data.dataset_spec import load_dataset_spec
    from effiseg.data.python_data import PythonData
    from effiseg.engines import load_exported
    from effiseg.environment import resolve_device
    from effiseg.evaluation.evaluator import evaluate_exported, evaluate_model
    from effiseg.models.pretrained import from_pretrained
    from effiseg.models.segformer import SegFormer

    if isinstance(data, PythonData):
        spec = data.spec()
    else:
        spec = load_dataset_spec(os.fspath(data), None if data_root is None else os.fspath(data_root))
    common: dict[str, Any] = {
        "protocol": protocol,
        "image_size": pixels(image_size),
        "resize": resize,
        "batch_size": batch_size,
        "workers": workers,
        "progress": progress,
        "mode": mode,
        "window": pixels(window),
        "stride": stride,
        "flip": flip,
        "boundary": protocol == "full",
    }
    if isinstance(model, SegFormer):
        return evaluate_model(model, spec, split, device=resolve_device(device), **common)
    source = os.fspath(model)
    found = resolve_model(source)
    if not is_exported(found):
        return evaluate_model(
            from_pretrained(found), spec, split, device=resolve_device(device), source=source, **common
        )
    if device == "cuda":
        raise UsageError(f"--device cuda: {source} runs on the CPU here; evaluate the model folder instead")
    return evaluate_exported(load_exported(found), spec, split, source=source, **common)


def ablate(
    *,
    data: PathLike | None = None,
    out: PathLike,
    recipes: Sequence[PathLike] | None = None,
    seeds: Sequence[int] | None = None,
    teacher: PathLike | None = None,
    config: PathLike | Sequence[PathLike] = (),
    data_root: PathLike | None = None,
    split: str | None = None,
    epochs: int | None = None,
    teacher_epochs: int | None = None,
    batch_size: int | None = None,
    image_size: ImageSize | None = None,
    model: Mapping[str, Any] | None = None,
    optimizer: Mapping[str, Any] | None = None,
    device: Device | None = None,
    workers: int | None = None,
    **settings: Any,
) -> Comparison:
    """Train and compare teacher, baseline and strategies under one loop, metric and budget, as `effiseg ablate` does.

    Called again with the same folder it skips what is finished and goes on where it was cut. Every training setting
    can be given and then holds for every row.

    Args:
        data: a data set's YAML file, or a preset's name together with `data_root`.
        out: folder of the comparison.
        recipes: the rows beside the teacher.
        seeds: every row is trained once with each.
        teacher: a trained teacher; None trains one first.
        config: YAML files of settings, or names of shipped ones, under all arguments.
        data_root: folder of the data set.
        split: the split on which rows are compared.
        epochs: passes over the training split, for every row.
        teacher_epochs: those of a teacher that is trained here.
        batch_size: images per optimizer step.
        image_size: the network's input.
        model: settings of the network that hold for every row.
        optimizer: settings of the optimizer.
        device: auto, cpu or cuda.
        workers: loader processes; 0 reads in this process.
        settings: any other setting.

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

    given = given_settings(
        settings, data=data, out=out, recipes=None if recipes is None else [os.fspath(r) for r in recipes],
        seeds=None if seeds is None else list(seeds), teacher=teacher, data_root=data_root, split=split, epochs=epochs,
        teacher_epochs=teacher_epochs, batch_size=batch_size, image_size=image_size, model=model, optimizer=optimizer,
        device=device, workers=workers,
    )  # fmt: skip
    layers = settings_layers("effiseg.ablate", config, given)
    made = make_settings(AblationConfig, *layers)
    shared: dict[str, Any] = {}
    for _, layer in layers:
        shared = merge_settings(shared, layer)
    words = ", ".join(f"{name}={value!r}" for name, value in flatten(layers[-1][1]).items())
    return compare(made, shared, command=f"effiseg.ablate({words})")


def export_model(
    model: Model,
    out: PathLike,
    *,
    format: ExportFormat | None = None,
    image_size: ImageSize | None = None,
    dynamic: bool = False,
    precision: Precision = "float32",
    output: Output = "logits",
    data: PathLike | None = None,
    data_root: PathLike | None = None,
    split: str = "val",
    calibration_images: int = 64,
    evaluation_images: int | None = None,
) -> ExportReport:
    """Write a model as a file for an engine, checked, as `effiseg export` does.

    Args:
        model: a network, run, model folder, transformers folder or Hub id.
        out: the file; its suffix says the format.
        format: what is written; default: what the suffix says.
        image_size: the one size the file takes; default: the model's own.
        dynamic: take any batch, height and width, from 64 on.
        precision: what the file computes in, as far as its format can; int8 needs `data`.
        output: logits at a quarter of the input's size, or labels at its size.
        data: data set whose images check the file and calibrate int8.
        data_root: folder of the data set.
        split: split that checks the file, and on which int8's mIoU is measured.
        calibration_images: most images that int8 is calibrated on.
        evaluation_images: most images that int8's mIoU is measured on; None: all.

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
    config = ExportConfig(
        format=format, out=Path(out), image_size=pixels(image_size), dynamic=dynamic,
        precision=precision, output=output, data=None if data is None else os.fspath(data),
        data_root=None if data_root is None else os.fspath(data_root), split=split,
        calibration_images=calibration_images, evaluation_images=evaluation_images,
    )  # fmt: skip
    return export_as(model, config)


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


def pixels(size: ImageSize | None) -> tuple[int, int] | None:
    """(height, width) of a size in either form.

    Raises:
        UsageError: neither, or a side under 32.
    """
    return None if size is None else parse_image_size(size_text(size))


def size_text(size: Any) -> Any:
    """(height, width) as "HEIGHTxWIDTH"; anything else as it is."""
    return "x".join(map(str, size)) if isinstance(size, (tuple, list)) else size


def given_settings(settings: Mapping[str, Any], **named: Any) -> dict[str, Any]:
    """The arguments that are not None, and the further settings."""
    given = {name: value for name, value in named.items() if value is not None} | dict(settings)
    sizes = {name: size_text(given[name]) for name in ("image_size", "latency_size") if name in given}
    return given | sizes


def settings_layers(source: str, config: PathLike | Sequence[PathLike], given: Mapping[str, Any]) -> list[Layer]:
    """The layers of `config`, then what was given to the function `source`."""
    files = [config] if isinstance(config, (str, os.PathLike)) else list(config)
    return [*file_layers([os.fspath(file) for file in files]), (source, nest(given))]
