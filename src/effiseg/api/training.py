"""Training and comparing, as functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from effiseg.api.speech import speaks_python
from effiseg.config.comparison import AblationConfig
from effiseg.config.data import size_text
from effiseg.config.keywords import AblationKeywords, PathLike, PretrainKeywords, TrainKeywords
from effiseg.config.loss import LossName
from effiseg.config.parsing import keyword_layers, make_settings, with_recipe_below
from effiseg.config.pretraining import PretrainConfig
from effiseg.config.signatures import signature_of
from effiseg.config.training import TrainConfig
from effiseg.nested import merge_settings
from effiseg.operations import call_text

# What works is imported where it works: evaluating and exporting need nothing of training.
if TYPE_CHECKING:
    from effiseg.data.python_data import PythonData
    from effiseg.losses.custom import Loss
    from effiseg.runs import Comparison, Run


@speaks_python
@signature_of(TrainConfig, TrainKeywords)
def train(
    data: PathLike | PythonData | None = None,
    out: PathLike | None = None,
    *,
    loss: LossName | Mapping[str, Any] | Loss | None = None,
    config: PathLike | Sequence[PathLike] = (),
    **settings: Unpack[TrainKeywords],
) -> Run:
    """Train or distil a model in a new run folder, as `effiseg train` does.

    Every setting of `effiseg train --help` can be given, nested ones as dictionaries or by their dotted names:
    `optimizer={"lr": 1e-3}` is `**{"optimizer.lr": 1e-3}`. None is null where a setting can be null, and otherwise
    leaves it to the recipe, or else to its default.

    Args:
        data: a data set's YAML file, a preset's name together with `data_root`, or a `PythonData`.
        out: the run folder to write; it must not exist yet. None makes runs/train, or one with a number.
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


@speaks_python
@signature_of(PretrainConfig, PretrainKeywords)
def pretrain(
    *, out: PathLike | None = None, config: PathLike | Sequence[PathLike] = (), **settings: Unpack[PretrainKeywords]
) -> Run:
    """Make starting weights from drawn pictures in a new run folder, as `effiseg pretrain` does.

    Args:
        out: the run folder to write; it must not exist yet; None makes runs/pretrain, or one with a
            number. `effiseg.train(init=OUT)` starts from it.
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
    made = make_settings(PretrainConfig, *with_recipe_below(PretrainConfig, layers))
    return start_run(made.training(), kind="pretrain")


@speaks_python
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


@speaks_python
@signature_of(AblationConfig, AblationKeywords)
def ablate(
    data: PathLike | None = None,
    out: PathLike | None = None,
    *,
    config: PathLike | Sequence[PathLike] = (),
    **settings: Unpack[AblationKeywords],
) -> Comparison:
    """Train and compare teacher, baseline and strategies under one loop, metric and budget, as `effiseg ablate` does.

    Called again with the same folder it skips what is finished and goes on where it was cut. Every training setting
    can be given and then holds for every row; None is as in `effiseg.train`.

    Args:
        data: a data set's YAML file, or a preset's name together with `data_root`.
        out: folder of the comparison; None makes runs/ablate, or one with a number.
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
    return compare(make_settings(AblationConfig, *layers), shared, command=call_text("effiseg.ablate", layers[-1][1]))


def _with_size_texts(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with sizes as config.yaml has them."""
    return {
        name: size_text(value) if name in ("image_size", "latency_size") else value for name, value in given.items()
    }


def _named(loss: str | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The settings of a loss that is given by its name."""
    return {"name": loss} if isinstance(loss, str) else loss
