"""OpenVINO IR files, on the CPU."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from effiseg.environment import require_package
from effiseg.errors import ModelError, UsageError
from effiseg.inference.export_record import PREFIX, ExportRecord, Precision
from effiseg.inference.runtimes import Answer, Images, Runtime, as_images, in_batches
from effiseg.models.metadata import ModelMetadata

_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f32", "int8": "f32"}
"""What OpenVINO is told to compute in; int8 operators are in the graph, and what is left between them is float32."""


class OpenVinoModel:
    """A `LoadedModel` in OpenVINO.

    OpenVINO computes in bfloat16 by default where the processor can; here it computes in what the file says.

    Args:
        path: the .xml file; the .bin lies beside it.
        threads: threads of the engine.
        precision: float32 or bfloat16 instead of what the file says; only for files of these two.

    Raises:
        ModelError: the file cannot be read, or was not written by `effiseg export`.
        UsageError: openvino is not installed, or the precision is none that can be chosen.
    """

    runtime: Runtime = "openvino"

    def __init__(self, path: Path, *, threads: int, precision: Precision | None = None) -> None:
        core = openvino_core("running an OpenVINO file")
        try:
            network = core.read_model(path)
        except Exception as error:  # OpenVINO raises plain RuntimeErrors
            reason = str(error).strip().splitlines()[-1]
            raise ModelError(f"{path}: OpenVINO cannot read it ({reason}); is the .bin beside it?") from None
        self.record = ExportRecord.from_properties(_properties(network), path)
        self.path = path
        self.precision: Precision = precision or self.record.precision
        if self.precision != self.record.precision and {self.precision, self.record.precision} != {
            "float32", "bfloat16"
        }:  # fmt: skip
            raise UsageError(
                f"{path}: OpenVINO can compute a float32 or bfloat16 file in either; "
                f"this one is {self.record.precision}, asked for was {self.precision}"
            )
        if self.precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            self.precision = "float32"
        self._compiled = compile_network(network, threads, _HINTS[self.precision])
        self._request = self._compiled.create_infer_request()

    @property
    def metadata(self) -> ModelMetadata:
        """Classes, colours and input size."""
        return self.record.metadata

    def __call__(self, images: Images) -> Answer:
        """See `LoadedModel`."""
        array = as_images(images, self.record, self.path)
        parts = []
        for group in in_batches(array, self.record.batch_size):
            # The engine reads the array where it lies; its answer is copied out of the engine's memory.
            self._request.infer([group], share_inputs=True)
            parts.append(np.array(self._request.get_output_tensor(0).data))
        answer: Answer = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return answer[: len(array)]

    def close(self) -> None:
        """Give the engine's memory back."""
        del self._request, self._compiled


def compile_network(network: Any, threads: int, hint: str, *, profile: bool = False) -> Any:
    """An openvino.CompiledModel on the CPU: one request at a time, as soon as can be.

    Args:
        network: any openvino.Model.
        threads: threads of the engine.
        hint: f32 or bf16, what its float operators compute in.
        profile: keep the times of all operators of the last request.
    """
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "PERF_COUNT": profile,
    }
    return openvino_core("running an OpenVINO file").compile_model(network, "CPU", settings)


def openvino_core(purpose: str) -> Any:
    """The one openvino.Core of this process, which stays until its end.

    A core's CPU plugin gives the thread a stack of its own for signal handlers, and puts the former one back when
    it goes. Where the lifetimes of two cores overlap, what comes back is the other's, whose memory is gone by then,
    and the next signal, be it Ctrl-C, ends the process with a segmentation fault. So there is one.

    Args:
        purpose: see `require_package`.

    Raises:
        UsageError: openvino is not installed.
    """
    return _core(import_openvino(purpose))


@cache
def _core(openvino: Any) -> Any:
    return openvino.Core()


def import_openvino(purpose: str) -> Any:
    """OpenVINO, imported so that it and NNCF send no usage data.

    Both report to Intel through the package openvino_telemetry unless the user opted out; without that package
    they carry on in silence. Effiseg sends nothing, so the package is kept from loading, and its sender from
    sending where another program in this process has loaded it before.

    Args:
        purpose: see `require_package`.

    Raises:
        UsageError: openvino is not installed.
    """
    if "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    elif sys.modules["openvino_telemetry"] is not None:
        sender: Any = require_package("openvino_telemetry.utils.sender", "openvino", purpose)
        sender.TelemetrySender.send = lambda *_: None
    return require_package("openvino", "openvino", purpose)


def _properties(network: Any) -> dict[str, str]:
    """The text under rt_info/effiseg."""
    if not network.has_rt_info([PREFIX]):
        return {}
    return {key: str(value) for key, value in network.get_rt_info([PREFIX]).value.items()}
