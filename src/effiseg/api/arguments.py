"""Arguments of the functions: models and data sets, by path or as objects."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from effiseg.config.keywords import PathLike
from effiseg.errors import UsageError
from effiseg.nested import flatten
from effiseg.run_folder import is_exported, resolve_model

# What works is imported where it works: evaluating and exporting need nothing of training.
if TYPE_CHECKING:
    from torch import nn

    from effiseg.data.dataset_spec import DatasetSpec
    from effiseg.data.python_data import PythonData
    from effiseg.models.segformer import SegFormer


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


def call_text(function: str, given: Mapping[str, Any]) -> str:
    """A call as results files record it."""
    return f"{function}({', '.join(f'{name}={value!r}' for name, value in flatten(given).items())})"
