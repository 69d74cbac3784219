"""Engines that run a network, and formats that it is written in: one file an engine, all of them in `ENGINES`.

Importing it loads neither torch nor an engine; each does so when it first works.
"""

from __future__ import annotations

import os
from pathlib import Path

from effiseg.config.engine import EngineName, ExportFormat, Precision
from effiseg.engines.engine import FileEngine, FileFormat, LoadedModel
from effiseg.engines.executorch import EXECUTORCH
from effiseg.engines.litert import LITERT
from effiseg.engines.ncnn import NCNN
from effiseg.engines.onnxruntime import ONNX_RUNTIME
from effiseg.engines.openvino import OPENVINO
from effiseg.engines.pytorch import TORCH, TORCH_COMPILE, TorchEngine
from effiseg.engines.record import check_report
from effiseg.engines.torch_export import TORCH_EXPORT
from effiseg.errors import ModelError

Engine = TorchEngine | FileEngine

ENGINES: tuple[TorchEngine | FileFormat, ...] = (
    TORCH,
    TORCH_COMPILE,
    ONNX_RUNTIME,
    OPENVINO,
    NCNN,
    LITERT,
    EXECUTORCH,
    TORCH_EXPORT,
)
"""All that there are."""
FORMATS: tuple[FileFormat, ...] = tuple(engine for engine in ENGINES if isinstance(engine, FileFormat))
"""Those that write files."""
FILE_ENGINES: tuple[FileEngine, ...] = tuple(engine for engine in FORMATS if isinstance(engine, FileEngine))
"""Those that also run them."""
MODEL_SUFFIXES = " or ".join(engine.suffix for engine in FILE_ENGINES)
"""How files end that can stand for a MODEL, for sentences."""


def engine_named(name: EngineName) -> Engine:
    """The engine of a word of `--engine`."""
    return next(engine for engine in ENGINES if isinstance(engine, TorchEngine | FileEngine) and engine.name == name)


def format_named(name: ExportFormat) -> FileFormat:
    """The format of a word of `--format`."""
    return next(engine for engine in FORMATS if engine.format == name)


def format_of(path: str | os.PathLike[str]) -> FileFormat | None:
    """The format of a file by its name; None: none of ours."""
    suffix = Path(path).suffix.lower()
    return next((engine for engine in FORMATS if engine.suffix == suffix), None)


def engine_of(path: str | os.PathLike[str]) -> FileEngine | None:
    """The engine of a file that can stand for a MODEL; None: there is none."""
    found = format_of(path)
    return found if isinstance(found, FileEngine) else None


def load_exported(
    path: str | os.PathLike[str], *, threads: int | None = None, precision: Precision | None = None
) -> LoadedModel:
    """Load a file that `effiseg export` wrote; nothing in it is executed but the network.

    Args:
        path: the file; its suffix says what runs it.
        threads: threads of the engine; default: torch's number.
        precision: what the file computes in, where the engine leaves a choice (`FileEngine.at_load`); default: what
            the file says.

    Raises:
        ModelError: no such file, not a file of `effiseg export`, one whose record or report is another's, or the
            engine cannot read it.
        UsageError: the engine is not installed, or `precision` is not the file's to choose.
    """
    import torch

    file = Path(path)
    if not file.is_file():
        raise ModelError(f"{path}: no such file")
    engine = engine_of(file)
    if engine is None:
        raise ModelError(f"{path}: a model file ends in {MODEL_SUFFIXES}; found {file.suffix or 'no suffix'}")
    loaded = engine.load(file, threads=threads or torch.get_num_threads(), precision=precision)
    check_report(engine.parts(file), loaded.record)
    return loaded
