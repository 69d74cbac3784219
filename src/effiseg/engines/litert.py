"""LiteRT, TensorFlow Lite's later name: one .tflite file, for phones and boards; run on the CPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from effiseg.config.engine import Precision
from effiseg.engines.appended import append_record, appended_properties
from effiseg.engines.engine import Answer, FileEngine, LoadedModel, Pixels
from effiseg.engines.record import INPUT_NAME, ExportRecord, only
from effiseg.environment import require_package
from effiseg.errors import ModelError, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from effiseg.models.segformer import SegFormer

_EXTRA = "litert"
_MULTIPLYING = {"CONV_2D", "FULLY_CONNECTED", "DEPTHWISE_CONV_2D", "BATCH_MATMUL"}
"""Operators that multiply matrices or filter, as LiteRT calls them."""
_QUANTIZED = ("CONV_2D", "FULLY_CONNECTED")
"""Those that are quantized: norms, attention and the depthwise filters between them stay in float32."""
_MOVING = {"CAST", "CONCATENATION", "PAD", "RESHAPE", "SLICE", "SPLIT", "TRANSPOSE", "QUANTIZE", "DEQUANTIZE"}
"""Operators that only move or round numbers."""


class _LiteRt(FileEngine):
    """Its file takes images as uint8; the record stands in an archive behind the network, where the format keeps files
    that belong to it.
    """

    name = "litert"
    title = "LiteRT"
    format = "litert"
    suffix = ".tflite"
    contents = "one .tflite file of one size"
    packages = ("ai-edge-litert", "litert-torch", "ai-edge-quantizer")
    precisions = ("float32", "int8")
    takes_any_size = False
    missing: ClassVar[Mapping[Precision, str]] = {
        "float16": "LiteRT computes in float32 on this kind of processor",
        "bfloat16": "LiteRT computes in float32 on this kind of processor",
    }

    def write(self, network: nn.Module, path: Path, record: ExportRecord) -> None:
        """See `FileFormat.write`."""
        import torch

        assert record.input_size is not None
        example = torch.zeros(record.batch_size or 1, *record.input_size, 3, dtype=torch.uint8)
        _convert(network, {INPUT_NAME: example}, path, "export to LiteRT")
        append_record(path, record)

    def load(self, path: Path, *, threads: int, precision: Precision | None = None) -> LoadedModel:
        """See `FileEngine.load`."""
        record = ExportRecord.from_properties(appended_properties(path), path)
        if precision not in (None, record.precision):
            raise UsageError(f"{path}: LiteRT computes what the file is, {record.precision}; asked for was {precision}")
        if record.input_size is None:
            raise ModelError(f"{path}: a file of LiteRT has one size; its record says none: export it again")
        interpreter = _interpreter(path, threads)
        entry = only(interpreter.get_input_details(), path)
        answer = only(interpreter.get_output_details(), path)
        taken, given = (tuple(int(side) for side in port["shape"]) for port in (entry, answer))
        record.require_fit(path, taken, given, np.dtype(answer["dtype"]).name)
        return LoadedModel(path, record, record.precision, self.name, _pass(interpreter))

    def quantize(
        self, model: SegFormer, plain: Path, path: Path, record: ExportRecord, images: list[Pixels]
    ) -> dict[str, Any]:
        """See `FileEngine.quantize`: Google's quantizer, weights per channel, ranges of activations from the images."""
        from effiseg.engines.capture import quiet, without_native_lines

        with quiet(), without_native_lines():
            quantizers = require_package("ai_edge_quantizer.quantizer", _EXTRA, "int8 in LiteRT")
            quantizer = quantizers.Quantizer(str(plain))
            names = require_package("ai_edge_quantizer.qtyping", _EXTRA, "int8 in LiteRT").TFLOperationName
            for operator in _QUANTIZED:
                quantizer.add_static_config(".*", names(operator), activation_num_bits=8, weight_num_bits=8)
            signature = only(list(_interpreter(plain, 1).get_signature_list()), plain)
            ranges = quantizer.calibrate({signature: [{INPUT_NAME: image} for image in images]})
            quantizer.quantize(ranges).export_model(str(path), overwrite=True)
        append_record(path, record)
        return _operators(path)

    def write_plain(self, network: nn.Module, images: Tensor, path: Path, purpose: str) -> None:
        """See `FileEngine.write_plain`: as litert-torch converts it."""
        _convert(network, {INPUT_NAME: images}, path, purpose)

    def run_plain(self, path: Path, threads: int, precision: Precision) -> Callable[[Answer], Answer]:
        """See `FileEngine.run_plain`."""
        return _pass(_interpreter(path, threads))

    def profile(self, path: Path, array: Answer, threads: int, precision: Precision, passes: int) -> Counter[str]:
        """There are none: LiteRT's interpreter for Python keeps no times."""
        raise UsageError("LiteRT's package keeps no times of its layers; profile the file in another engine")


def _interpreter(path: Path, threads: int) -> Any:
    """An ai_edge_litert Interpreter, ready to run.

    Raises:
        UsageError: ai_edge_litert is not installed.
        ModelError: it cannot read the file.
    """
    from effiseg.engines.capture import without_native_lines

    interpreters = require_package("ai_edge_litert.interpreter", _EXTRA, "running a LiteRT file")
    try:
        with without_native_lines():
            interpreter = interpreters.Interpreter(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{path}: LiteRT cannot read it ({reason}); export it again") from None
    return interpreter


def _pass(interpreter: Any) -> Callable[[Answer], Answer]:
    entry, answer = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(array: Answer) -> Answer:
        interpreter.set_tensor(entry, array)
        interpreter.invoke()
        found: Answer = interpreter.get_tensor(answer)  # a copy
        return found

    return run


def _convert(network: nn.Module, inputs: dict[str, Tensor], path: Path, purpose: str) -> None:
    """The .tflite file of a network, by litert-torch."""
    from effiseg.engines.capture import quiet, without_native_lines

    with quiet(), without_native_lines():
        converter = require_package("litert_torch", _EXTRA, purpose)
        converter.convert(network.eval(), sample_kwargs=inputs).export(str(path))


def _operators(path: Path) -> dict[str, Any]:
    """Which operators of a quantized file compute in int8, in the form of `operators.sorted_operators`."""
    tools = require_package("ai_edge_litert.tools.flatbuffer_utils", _EXTRA, "int8 in LiteRT")
    int8_type = require_package("ai_edge_litert.schema_py_generated", _EXTRA, "int8 in LiteRT").TensorType.INT8
    network = tools.read_model(str(path))
    graph = network.subgraphs[0]
    int8: Counter[str] = Counter()
    remaining: Counter[str] = Counter()
    names: list[str] = []
    for operator in graph.operators:
        kind = str(tools.opcode_to_name(network, operator.opcodeIndex))
        if kind in _MULTIPLYING and graph.tensors[operator.inputs[0]].type == int8_type:
            int8[kind] += 1
        elif kind not in _MOVING:
            remaining[kind] += 1
            if kind in _MULTIPLYING:
                names.append(graph.tensors[operator.outputs[0]].name.decode())
    return {"int8": dict(int8), "float32": dict(remaining), "multiplying_in_float32": names}


LITERT = _LiteRt()
