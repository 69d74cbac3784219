"""OpenVINO: an .xml file and a .bin file with the weights; run on the CPU."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from effiseg.config.engine import Precision
from effiseg.engines.engine import Answer, FileEngine, LoadedModel, Pixels
from effiseg.engines.operators import sorted_operators
from effiseg.engines.record import INPUT_NAME, PREFIX, ExportRecord, Shape, only
from effiseg.environment import available_cores, require_package
from effiseg.errors import ModelError, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from effiseg.models.segformer import SegFormer

_HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16", "float16": "f32", "int8": "f32"}
"""Precisions that OpenVINO is told; int8 operators are in the graph, and what is left between them is float32."""
_RUNNING = "running an OpenVINO file"


class _OpenVino(FileEngine):
    """It likes matrix products in the encoder, and 1x1 convolutions in the head: it enlarges channels-first maps there,
    and would transpose each to meet a matrix product. For the same reason it seeks the best class over the first axis.

    OpenVINO computes in bfloat16 by default where the processor can; here it computes in what the file says.
    """

    name = "openvino"
    title = "OpenVINO"
    format = "openvino"
    suffix = ".xml"
    contents = ".xml and .bin"
    packages = ("openvino", "nncf")
    precisions = ("float32", "bfloat16", "int8")
    half = "bfloat16"
    at_load = ("float32", "bfloat16")
    missing: ClassVar[Mapping[Precision, str]] = {"float16": "OpenVINO computes in float32 or bfloat16 on the CPU"}
    pointwise = "linear"
    head = "conv"
    classes_last = False

    def write(self, network: nn.Module, path: Path, record: ExportRecord) -> None:
        """See `FileFormat.write`."""
        _save(_convert(network, record), path, record)

    def parts(self, path: Path) -> list[Path]:
        """The .xml and the .bin."""
        return [path, path.with_suffix(".bin")]

    def load(self, path: Path, *, threads: int, precision: Precision | None = None) -> LoadedModel:
        """See `FileEngine.load`."""
        core = openvino_core(_RUNNING)
        try:
            network = core.read_model(path)
        except Exception as error:  # OpenVINO raises plain RuntimeErrors
            reason = str(error).strip().splitlines()[-1]
            raise ModelError(f"{path}: OpenVINO cannot read it ({reason}); is the .bin beside it?") from None
        record = ExportRecord.from_properties(_properties(network), path)
        entry, answer = only(network.inputs, path), only(network.outputs, path)
        number_type = np.dtype(answer.get_element_type().to_dtype()).name
        record.require_fit(path, _shape(entry), _shape(answer), number_type)
        chosen = precision or record.precision
        if chosen != record.precision and not {chosen, record.precision} <= set(self.at_load):
            raise UsageError(
                f"{path}: OpenVINO can compute a float32 or bfloat16 file in either; "
                f"this one is {record.precision}, asked for was {precision}"
            )
        if chosen == "bfloat16" and not has_bfloat16(core):
            chosen = "float32"
        run = _pass(compile_network(network, threads, _HINTS[chosen]))
        return LoadedModel(path, record, chosen, self.name, run)

    def quantize(
        self, model: SegFormer, plain: Path, path: Path, record: ExportRecord, images: list[Pixels]
    ) -> dict[str, Any]:
        """See `FileEngine.quantize`: NNCF, from the network and not from the file."""
        from effiseg.engines.capture import quiet

        import_openvino("int8 in OpenVINO")  # before NNCF, which would load its telemetry
        nncf = require_package("nncf", "int8", "int8 in OpenVINO")
        converted = _convert(self.deploy_form(model, record.output), record)
        with quiet():
            nncf.set_log_level("ERROR")
            quantized = nncf.quantize(
                converted,
                nncf.Dataset(images),
                preset=nncf.QuantizationPreset.MIXED,
                model_type=nncf.ModelType.TRANSFORMER,
                subset_size=len(images),
            )
        _save(quantized, path, record)
        return sorted_operators(
            quantized.get_ordered_ops(),
            name=lambda node: str(node.get_friendly_name()),
            kind=lambda node: str(node.get_type_name()),
            source=lambda node: node.input_value(0).get_node() if node.get_input_size() else None,
        )

    def write_plain(self, network: nn.Module, images: Tensor, path: Path, purpose: str) -> None:
        """See `FileEngine.write_plain`: as OpenVINO converts it."""
        import torch

        openvino = import_openvino(purpose)
        with torch.no_grad():
            converted = openvino.convert_model(network, example_input=images, input=[list(images.shape)])
        openvino.save_model(converted, path, compress_to_fp16=False)

    def run_plain(self, path: Path, threads: int, precision: Precision) -> Callable[[Answer], Answer]:
        """See `FileEngine.run_plain`."""
        return _pass(compile_network(openvino_core(_RUNNING).read_model(path), threads, _HINTS[precision]))

    def profile(self, path: Path, array: Answer, threads: int, precision: Precision, passes: int) -> Counter[str]:
        """See `FileEngine.profile`."""
        network = openvino_core("a profile").read_model(path)
        request = compile_network(network, threads, _HINTS[precision], profile=True).create_infer_request()
        times: Counter[str] = Counter()
        for number in range(1 + passes):
            request.infer([array])
            if number > 0:  # the first pass also allocates
                for entry in request.get_profiling_info():
                    times[entry.node_type] += entry.real_time.total_seconds() * 1000 / passes
        return times


def _shape(port: Any) -> Shape:
    return tuple(None if side.is_dynamic else side.get_length() for side in port.get_partial_shape())


def _pass(compiled: Any) -> Callable[[Answer], Answer]:
    request = compiled.create_infer_request()

    def run(array: Answer) -> Answer:
        # The engine reads the array where it lies; its answer is copied out of the engine's memory.
        request.infer([array], share_inputs=True)
        return np.array(request.get_output_tensor(0).data)

    return run


def _convert(network: nn.Module, record: ExportRecord) -> Any:
    """An openvino.Model of a network (B, H, W, 3) uint8 to logits or labels, for the sizes that the record names.

    Raises:
        UsageError: openvino is not installed.
    """
    from effiseg.engines.capture import capture, quiet

    openvino = import_openvino("export to OpenVINO")
    program = capture(network, record)
    height, width = record.input_size or (-1, -1)
    with quiet():
        model = openvino.convert_model(program, input=[record.batch_size or -1, height, width, 3])
    model.inputs[0].set_names({INPUT_NAME})
    model.outputs[0].set_names({record.output})
    return model


def _save(model: Any, path: Path, record: ExportRecord) -> None:
    """The .xml and the .bin beside it, the record under rt_info/effiseg; weights of a bfloat16 one as float16."""
    from effiseg.engines.capture import quiet

    openvino = import_openvino("export to OpenVINO")
    for name, text in record.to_properties().items():
        model.set_rt_info(text, [PREFIX, name])
    with quiet():
        openvino.save_model(model, path, compress_to_fp16=record.precision == "bfloat16")


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
        # Threads that OpenVINO pins stand on the first cores: those of two processes with a core each on the same one.
        "ENABLE_CPU_PINNING": threads >= available_cores(),
        "PERFORMANCE_HINT": "LATENCY",
        "PERF_COUNT": profile,
    }
    return openvino_core(_RUNNING).compile_model(network, "CPU", settings)


def has_bfloat16(core: Any) -> bool:
    """Whether the processor has instructions for bfloat16; without them OpenVINO imitates it, thirty times as slow.

    Args:
        core: of `openvino_core`.
    """
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


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


OPENVINO = _OpenVino()
