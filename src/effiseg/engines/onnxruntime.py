"""ONNX Runtime: one .onnx file with its weights inside, in the form that it likes; run on the CPU."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from effiseg.config.engine import Precision
from effiseg.engines.engine import Answer, FileEngine, LoadedModel, Pixels
from effiseg.engines.operators import sorted_operators
from effiseg.engines.record import INPUT_NAME, PREFIX, ExportRecord, Shape, only
from effiseg.environment import require_package
from effiseg.errors import ModelError, UsageError
from effiseg.version import __version__

if TYPE_CHECKING:
    from torch import Tensor, nn

    from effiseg.models.segformer import SegFormer

_EXTRA = "onnx"
_NUMBER_TYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}
_ERRORS_ONLY = 3  # ONNX Runtime's log levels: 0 verbose … 4 fatal


class _OnnxRuntime(FileEngine):
    """It likes 1x1 convolutions over channels-first maps, and attention written as two products."""

    name = "onnxruntime"
    title = "ONNX Runtime"
    format = "onnx"
    suffix = ".onnx"
    contents = "one .onnx file"
    packages = ("onnx", "onnxscript", "onnxruntime")
    precisions = ("float32", "float16", "int8")
    half = "float16"
    opsets = range(18, 24)
    usual_opset = 20  # has GELU and LayerNormalization as operators; ONNX Runtime reads it since 1.17
    missing: ClassVar[Mapping[Precision, str]] = {"bfloat16": "ONNX Runtime has no bfloat16 on the CPU"}
    pointwise = "conv"
    attention = "matmul"

    def write(self, network: nn.Module, path: Path, record: ExportRecord) -> None:
        """See `FileFormat.write`; the record lies in the file's metadata_props."""
        import torch

        from effiseg.engines.capture import capture, quiet

        onnx = require_package("onnx", _EXTRA, "export to ONNX")
        require_package("onnxscript", _EXTRA, "export to ONNX")
        network = network.half() if record.precision == "float16" else network
        program = capture(network, record)
        with quiet():
            exported = torch.onnx.export(
                program, (), dynamo=True, opset_version=record.opset or self.usual_opset, input_names=[INPUT_NAME],
                output_names=[record.output], verbose=False,
            )  # fmt: skip
        assert exported is not None
        model = exported.model_proto
        _name_axes(model.graph, record)
        _strip(model.graph)
        _write_properties(model, record)
        onnx.checker.check_model(model)
        onnx.save_model(model, path)

    def load(self, path: Path, *, threads: int, precision: Precision | None = None) -> LoadedModel:
        """See `FileEngine.load`."""
        try:
            session = _open_session(path, threads)
        except UsageError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"{path}: ONNX Runtime cannot load it ({reason}); export it again") from None
        properties = session.get_modelmeta().custom_metadata_map
        own = {key.removeprefix(f"{PREFIX}."): value for key, value in properties.items() if key.startswith(PREFIX)}
        record = ExportRecord.from_properties(own, path)
        entry, answer = only(session.get_inputs(), path), only(session.get_outputs(), path)
        number_type = _NUMBER_TYPES.get(answer.type, answer.type)
        record.require_fit(path, _shape(entry.shape), _shape(answer.shape), number_type)
        if precision not in (None, record.precision):
            raise UsageError(
                f"{path}: an ONNX file has its precision inside, here {record.precision}; found {precision}"
            )
        return LoadedModel(path, record, record.precision, self.name, _pass(session))

    def quantize(
        self, model: SegFormer, plain: Path, path: Path, record: ExportRecord, images: list[Pixels]
    ) -> dict[str, Any]:
        """See `FileEngine.quantize`: ONNX Runtime's static quantizer, in QDQ form."""
        from effiseg.engines.capture import quiet

        onnx = require_package("onnx", _EXTRA, "int8 in ONNX")
        require_package("onnxruntime", _EXTRA, "int8 in ONNX")
        with quiet():
            quantizer = require_package("onnxruntime.quantization", _EXTRA, "int8 in ONNX")
            shapes = require_package("onnxruntime.quantization.shape_inference", _EXTRA, "int8 in ONNX")
            prepared = plain.with_name("prepared.onnx")
            shapes.quant_pre_process(plain, prepared, skip_optimization=True, skip_symbolic_shape=True)
            quantizer.quantize_static(
                prepared,
                path,
                _CalibrationReader(images),
                quant_format=quantizer.QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "MatMul"],
                per_channel=True,
                activation_type=quantizer.QuantType.QUInt8,
                weight_type=quantizer.QuantType.QInt8,
                nodes_to_exclude=_first_and_last(onnx.load_model(prepared)),
            )
            quantized = onnx.load_model(path)
            del quantized.graph.value_info[:]
            _write_properties(quantized, record)
            onnx.save_model(quantized, path)
        makers = {name: node for node in quantized.graph.node for name in node.output}
        return sorted_operators(
            quantized.graph.node,
            name=lambda node: str(node.name),
            kind=lambda node: str(node.op_type),
            source=lambda node: makers.get(node.input[0]) if node.input else None,
        )

    def write_plain(self, network: nn.Module, images: Tensor, path: Path, purpose: str) -> None:
        """See `FileEngine.write_plain`: as torch exports it, weights inside the file."""
        import torch

        require_package("onnxscript", _EXTRA, purpose)
        torch.onnx.export(
            network, (images,), path, dynamo=True, external_data=False, input_names=[INPUT_NAME], verbose=False
        )

    def run_plain(self, path: Path, threads: int, precision: Precision) -> Callable[[Answer], Answer]:
        """See `FileEngine.run_plain`."""
        return _pass(_open_session(path, threads))

    def profile(self, path: Path, array: Answer, threads: int, precision: Precision, passes: int) -> Counter[str]:
        """See `FileEngine.profile`."""
        with tempfile.TemporaryDirectory(prefix="effiseg-profile-") as folder:
            session = _open_session(path, threads, profile=Path(folder) / "profile")
            run = _pass(session)
            for _ in range(passes):
                run(array)
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        times: Counter[str] = Counter()
        for event in events:
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
                times[event["args"]["op_name"]] += event["dur"] / 1000 / passes
        return times


def _shape(sides: Sequence[Any]) -> Shape:
    """A shape in which other values than numbers stand for any."""
    return tuple(side if isinstance(side, int) else None for side in sides)


def _pass(session: Any) -> Callable[[Answer], Answer]:
    entry = session.get_inputs()[0].name
    return lambda array: cast("Answer", session.run(None, {entry: array})[0])


def _open_session(path: Path, threads: int, profile: Path | None = None) -> Any:
    """An onnxruntime.InferenceSession on the CPU: one operator at a time on `threads` threads, one stream.

    Args:
        path: any .onnx file.
        threads: threads within an operator.
        profile: beginning of the name of a file that the times of all operators are written to.

    Raises:
        UsageError: onnxruntime is not installed.
    """
    engine = require_package("onnxruntime", _EXTRA, "running an .onnx file")
    options = engine.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return engine.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _write_properties(model: Any, record: ExportRecord) -> None:
    """Put the record into the model, in place of whatever properties it has."""
    model.producer_name, model.producer_version = "effiseg", __version__
    del model.metadata_props[:]
    for name, text in record.to_properties().items():
        model.metadata_props.add(key=f"{PREFIX}.{name}", value=text)


def _name_axes(graph: Any, record: ExportRecord) -> None:
    """Call the dynamic axes batch, height and width; the exporter calls them s77 and the like."""
    from effiseg.engines.capture import AXES, output_axes

    for value, names in (
        (graph.input[0], (*AXES, 3)),
        (graph.output[0], output_axes(record.output, record.metadata.num_classes, record.output_stride)),
    ):
        for axis, name in zip(value.type.tensor_type.shape.dim, names, strict=True):
            if not axis.HasField("dim_value") and isinstance(name, str):
                axis.dim_param = name
    # The shapes of what lies between speak of the old names, and every engine infers them anew.
    del graph.value_info[:]


def _strip(graph: Any) -> None:
    """Drop the Python stack traces that the exporter leaves at every operator."""
    del graph.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        part.doc_string = ""
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]


class _CalibrationReader:
    """Hands images out one by one, in the form that ONNX Runtime's quantizer asks for them."""

    def __init__(self, images: list[Pixels]) -> None:
        self._rest = iter(images)

    def get_next(self) -> dict[str, Pixels] | None:
        """The next input, or None at the end."""
        image = next(self._rest, None)
        return None if image is None else {INPUT_NAME: image}


def _first_and_last(model: Any) -> list[str]:
    """Names of the first and the last convolution of an onnx.ModelProto: the pixels' and the classifier."""
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    return [convolutions[0], convolutions[-1]]


ONNX_RUNTIME = _OnnxRuntime()
