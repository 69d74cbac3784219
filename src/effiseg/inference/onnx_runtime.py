"""ONNX files in ONNX Runtime, on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from effiseg.environment import require_package
from effiseg.errors import ModelError, UsageError
from effiseg.inference.export_record import INPUT_NAME, PREFIX, ExportRecord, Precision
from effiseg.inference.runtimes import Answer, Images, Runtime, as_images, in_batches
from effiseg.models.metadata import ModelMetadata

_ERRORS_ONLY = 3  # ONNX Runtime's log levels: 0 verbose … 4 fatal


class OnnxRuntimeModel:
    """A `LoadedModel` in ONNX Runtime.

    Args:
        path: the .onnx file.
        threads: threads within an operator.
        precision: None, or the file's own.

    Raises:
        ModelError: the file cannot be read, or was not written by `effiseg export`.
        UsageError: onnxruntime is not installed, or another precision than the file's is asked for.
    """

    runtime: Runtime = "onnxruntime"

    def __init__(self, path: Path, *, threads: int, precision: Precision | None = None) -> None:
        try:
            self._session = open_session(path, threads)
        except UsageError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"{path}: ONNX Runtime cannot load it ({reason}); export it again") from None
        properties = self._session.get_modelmeta().custom_metadata_map
        own = {key.removeprefix(f"{PREFIX}."): value for key, value in properties.items() if key.startswith(PREFIX)}
        self.record = ExportRecord.from_properties(own, path)
        self.precision = self.record.precision
        self.path = path
        if precision not in (None, self.precision):
            raise UsageError(f"{path}: an ONNX file has its precision inside, here {self.precision}; found {precision}")

    @property
    def metadata(self) -> ModelMetadata:
        """Classes, colours and input size."""
        return self.record.metadata

    def __call__(self, images: Images) -> Answer:
        """See `LoadedModel`."""
        array = as_images(images, self.record, self.path)
        parts = [self._session.run(None, {INPUT_NAME: group})[0] for group in in_batches(array, self.record.batch_size)]
        answer: Answer = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return answer[: len(array)]

    def close(self) -> None:
        """Give the session's memory back."""
        del self._session


def open_session(path: Path, threads: int, profile: Path | None = None) -> Any:
    """An onnxruntime.InferenceSession on the CPU: one operator at a time on `threads` threads, one stream.

    Args:
        path: any .onnx file.
        threads: threads within an operator.
        profile: beginning of the name of a file that the times of all operators are written to.

    Raises:
        UsageError: onnxruntime is not installed.
    """
    engine = require_package("onnxruntime", "onnx", "running an .onnx file")
    options = engine.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return engine.InferenceSession(path, options, providers=["CPUExecutionProvider"])
