"""ExecuTorch: one .pte file, lowered to XNNPACK, for phones and boards; run on the CPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from effiseg.config.engine import Precision
from effiseg.engines.appended import append_record, appended_properties
from effiseg.engines.engine import Answer, FileEngine, LoadedModel, Pixels
from effiseg.engines.operators import sorted_operators
from effiseg.engines.record import ExportRecord, only
from effiseg.environment import require_package
from effiseg.errors import ModelError, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram

    from effiseg.models.segformer import SegFormer

_EXTRA = "executorch"
_RUNNING = "running an ExecuTorch file"
_QUANTIZING = "int8 in ExecuTorch"
_XNNPACK = "executorch.backends.xnnpack"
_METHOD = "forward"
_NUMBER_TYPES = {0: "uint8", 6: "float32"}
"""Number of a type, as ExecuTorch counts them → its name."""
_KINDS = {
    "conv2d": "Conv", "linear": "Gemm", "matmul": "MatMul", "bmm": "MatMul", "permute": "Transpose",
    "transpose": "Transpose", "view": "Reshape", "reshape": "Reshape", "flatten": "Flatten", "slice": "Slice",
    "select": "Slice", "expand": "Expand", "unsqueeze": "Unsqueeze", "squeeze": "Squeeze", "cat": "Concat",
    "split": "Split", "chunk": "Split", "to": "Cast", "contiguous": "Identity", "clone": "Identity",
    "getitem": "Identity", "_assert_tensor_metadata": "Identity",
    "quantize_per_tensor": "QuantizeLinear", "dequantize_per_tensor": "DequantizeLinear",
    "quantize_per_channel": "QuantizeLinear", "dequantize_per_channel": "DequantizeLinear",
}  # fmt: skip
"""Operator of ATen → its kind in the words of `operators`; others keep their names."""


class _ExecuTorch(FileEngine):
    """Its file takes images as uint8; the record stands in an archive behind the network, which its header ends."""

    name = "executorch"
    title = "ExecuTorch"
    format = "executorch"
    suffix = ".pte"
    contents = "one .pte file of one size"
    packages = ("executorch", "torchao")
    precisions = ("float32", "int8")
    takes_any_size = False
    missing: ClassVar[Mapping[Precision, str]] = {
        "float16": "ExecuTorch computes in float32 on this kind of processor",
        "bfloat16": "ExecuTorch computes in float32 on this kind of processor",
    }
    pointwise = "conv"
    attention = "matmul"

    def write(self, network: nn.Module, path: Path, record: ExportRecord) -> None:
        """See `FileFormat.write`."""
        from effiseg.engines.capture import capture

        _lower(capture(_contiguous(network), record), path, "export to ExecuTorch")
        append_record(path, record)

    def load(self, path: Path, *, threads: int, precision: Precision | None = None) -> LoadedModel:
        """See `FileEngine.load`; the threads are those of all ExecuTorch files of the process."""
        record = ExportRecord.from_properties(appended_properties(path), path)
        if precision not in (None, record.precision):
            raise UsageError(
                f"{path}: ExecuTorch computes what the file is, {record.precision}; asked for was {precision}"
            )
        if record.input_size is None:
            raise ModelError(f"{path}: a file of ExecuTorch has one size; its record says none: export it again")
        method = _method(path, threads)
        known = method.metadata
        entry = only([known.input_tensor_meta(place) for place in range(known.num_inputs())], path)
        answer = only([known.output_tensor_meta(place) for place in range(known.num_outputs())], path)
        number_type = _NUMBER_TYPES.get(answer.dtype(), f"type {answer.dtype()}")
        record.require_fit(path, tuple(entry.sizes()), tuple(answer.sizes()), number_type)
        return LoadedModel(path, record, record.precision, self.name, _pass(method))

    def quantize(
        self, model: SegFormer, plain: Path, path: Path, record: ExportRecord, images: list[Pixels]
    ) -> dict[str, Any]:
        """See `FileEngine.quantize`: ExecuTorch's quantizer for XNNPACK, weights per channel, activations per tensor,
        of convolutions and matrix products with weights; the rest stays in float32.
        """
        import torch

        from effiseg.engines.capture import capture, quiet

        with quiet():
            tools = require_package(f"{_XNNPACK}.quantizer.xnnpack_quantizer", _EXTRA, _QUANTIZING)
            steps = require_package("torchao.quantization.pt2e.quantize_pt2e", _EXTRA, _QUANTIZING)
            program = capture(_contiguous(self.deploy_form(model, record.output)), record)
            settings = tools.get_symmetric_quantization_config(is_per_channel=True)
            quantizer = tools.XNNPACKQuantizer()
            for operator in (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default):
                quantizer.set_operator_type(operator, settings)
            prepared = steps.prepare_pt2e(program.module(), quantizer)
            for image in images:
                prepared(torch.from_numpy(image))
            example = torch.zeros(images[0].shape, dtype=torch.uint8)  # images may have strides that lowering refuses
            rounded = torch.export.export(steps.convert_pt2e(prepared), (example,))
        _lower(rounded, path, _QUANTIZING)
        append_record(path, record)
        nodes = [node for node in rounded.graph.nodes if node.op == "call_function"]
        return sorted_operators(nodes, lambda node: str(node.name), _kind, _source)

    def write_plain(self, network: nn.Module, images: Tensor, path: Path, purpose: str) -> None:
        """See `FileEngine.write_plain`: as torch.export captures it, lowered to XNNPACK."""
        import torch

        from effiseg.engines.capture import quiet

        with quiet():
            program = torch.export.export(_contiguous(network).eval(), (images,))
        _lower(program, path, purpose)

    def run_plain(self, path: Path, threads: int, precision: Precision) -> Callable[[Answer], Answer]:
        """See `FileEngine.run_plain`."""
        return _pass(_method(path, threads))

    def profile(self, path: Path, array: Answer, threads: int, precision: Precision, passes: int) -> Counter[str]:
        """There are none: ExecuTorch's package is built without clocks."""
        raise UsageError("ExecuTorch's package keeps no times of its layers; profile the file in another engine")


def _contiguous(network: nn.Module) -> nn.Module:
    """The network with its weights channels first in memory: the lowering to XNNPACK takes no others."""
    for tensor in (*network.parameters(), *network.buffers()):
        tensor.data = tensor.data.contiguous()
    return network


def _lower(program: ExportedProgram, path: Path, purpose: str) -> None:
    """Write the .pte file of a captured network: what XNNPACK computes, and ExecuTorch's own operators for the rest.

    Raises:
        UsageError: executorch is not installed.
    """
    from effiseg.engines.capture import quiet, without_native_lines

    with quiet(), without_native_lines():
        lowering = require_package("executorch.exir", _EXTRA, purpose)
        parts = require_package(f"{_XNNPACK}.partition.xnnpack_partitioner", _EXTRA, purpose)
        edge = lowering.to_edge_transform_and_lower(program, partitioner=[parts.XnnpackPartitioner()])
        path.write_bytes(edge.to_executorch().buffer)


def _method(path: Path, threads: int) -> Any:
    """An executorch.runtime Method, ready to run.

    Raises:
        UsageError: executorch is not installed.
        ModelError: it cannot read the file.
    """
    from effiseg.engines.capture import quiet, without_native_lines

    try:
        with quiet(), without_native_lines():
            runtime = require_package("executorch.runtime", _EXTRA, _RUNNING).Runtime.get()
            pool = require_package("executorch.extension.pybindings.portable_lib", _EXTRA, _RUNNING)
            if pool._threadpool_get_thread_count() != threads:
                pool._unsafe_reset_threadpool(threads)
            return runtime.load_program(path).load_method(_METHOD)
    except (RuntimeError, KeyError) as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise ModelError(f"{path}: ExecuTorch cannot read it ({reason}); export it again") from None


def _pass(method: Any) -> Callable[[Answer], Answer]:
    import torch

    def run(array: Answer) -> Answer:
        found: Answer = method.execute([torch.from_numpy(array)])[0].numpy()  # a copy
        return found

    return run


def _kind(node: Any) -> str:
    name = str(node.target.__name__).partition(".")[0]
    return _KINDS.get(name, name)


def _source(node: Any) -> Any:
    """The operator that feeds the first input of one; None: there is none, or it computes in float32 all the same."""
    first = node.args[0] if node.args and _kind(node) != "MatMul" else None
    return first if getattr(first, "op", None) == "call_function" else None


EXECUTORCH = _ExecuTorch()
