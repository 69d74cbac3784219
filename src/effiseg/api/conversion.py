"""Weights of others made a model folder, as a function."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from effiseg.api.speech import speaks_python
from effiseg.config.conversion import ModelConvertConfig
from effiseg.config.keywords import ModelConvertKeywords, PathLike
from effiseg.config.parsing import keyword_settings
from effiseg.config.signatures import signature_of
from effiseg.errors import UsageError
from effiseg.operations import data_set
from effiseg.run_folder import resolve_model, run_of_checkpoint

# What works is imported where it works.
if TYPE_CHECKING:
    from effiseg.models.conversion import Conversion


@speaks_python
@signature_of(ModelConvertConfig, ModelConvertKeywords)
def convert_model(weights: PathLike, out: PathLike, **settings: Unpack[ModelConvertKeywords]) -> Conversion:
    """Make a model folder of others' weights, as `effiseg convert` does; nothing is trained.

    Args:
        weights: a file of weights, a transformers folder or a Hub id. Of pickles nothing but tensors and plain values
            is read.
        out: the model folder to write; new or empty.
        settings: data, whose classes the weights know; image_size.

    Raises:
        UsageError, ModelError, DataError: what is wrong, in one line; nothing is written.

    Example:
        >>> made = effiseg.convert_model("runs/students/baseline/model", "converted", data="colours/data.yaml")
        >>> made.model.metadata.names
        ('grey', 'red', 'blue')
    """
    given = {"weights": os.fspath(weights), "out": out, **settings}
    return convert_as(keyword_settings(ModelConvertConfig, "effiseg.convert_model", given))


def convert_as(config: ModelConvertConfig) -> Conversion:
    """`convert_model` with its settings as one object.

    Raises:
        UsageError, ModelError, DataError: what is wrong, in one line; nothing is written.
    """
    target = Path(config.out).expanduser()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target}: must be a new or an empty folder; choose another one")
    if config.data is None and config.data_root is not None:
        raise UsageError("--data_root concerns --data; found no --data")
    from effiseg.models.conversion import convert_weights
    from effiseg.models.initial_weights import read_initial_weights
    from effiseg.models.metadata import ModelMetadata
    from effiseg.models.pretrained import save_pretrained

    classes = None
    if config.data is not None:
        spec = data_set(config.data, config.data_root)
        classes = ModelMetadata(spec.names, spec.palette, spec.label_mapping, spec.ignore_index)
    file = Path(config.weights).expanduser()
    is_weights = file.is_file() and run_of_checkpoint(file) is None
    read = read_initial_weights(config.weights if is_weights else resolve_model(config.weights))
    made = convert_weights(read, classes, config.image_size)
    save_pretrained(made.model, target)
    return made
