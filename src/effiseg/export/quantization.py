"""Post-training quantization to int8, with its cost in mIoU and its gain in time measured on the spot.

Weights are quantized per output channel and symmetrically, activations per tensor and asymmetrically. What the
quantizers cannot or should not touch (softmax, norms, resizing, the first convolution, the classifier) stays in
float32 and is listed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from effiseg.config.export import ExportConfig
from effiseg.data.dataset import EvaluationDataset
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.samples import list_samples
from effiseg.environment import require_package
from effiseg.errors import UsageError
from effiseg.evaluation.evaluator import evaluate_exported, exactly
from effiseg.export.capture import quiet
from effiseg.export.onnx import write_properties
from effiseg.export.openvino import convert, write_openvino
from effiseg.export.quantized_operators import onnx_operators, openvino_operators
from effiseg.export.writing import deploy_form, describe, write_file
from effiseg.inference.export_record import INPUT_NAME, ExportRecord
from effiseg.inference.openvino_runtime import import_openvino
from effiseg.inference.runtimes import load_exported
from effiseg.inference.timing import interleaved_medians
from effiseg.models.segformer import SegFormer

Pixels = npt.NDArray[np.uint8]


def quantize(
    model: SegFormer, path: Path, config: ExportConfig, spec: DatasetSpec, form: dict[str, Any]
) -> tuple[ExportRecord, dict[str, Any]]:
    """Write a model in int8.

    Args:
        model: on the CPU.
        path: the file; the .bin of an .xml lies beside it.
        config: format, number of calibration images, split to measure on.
        spec: the data set.
        form: input_size, output and source, as `write_file` takes them.

    Returns:
        What the file says of itself, and the report: calibration, operators, and mIoU and latency of the
        float32 file and of this one in the same engine.

    Raises:
        UsageError: a package is not installed, or there is no input size to calibrate at.
        DataError: the data set breaks a rule.
    """
    size = form["input_size"] or model.metadata.image_size
    if size is None:
        raise UsageError(f"{form['source']}: does not say its input size; export it for one with --image_size")
    split = "train" if "train" in spec.splits else config.split
    images = list(calibration_images(model, spec, split, size, form["input_size"] is not None, config))
    record = describe(model, precision="int8", **form)
    with tempfile.TemporaryDirectory(prefix="effiseg-quantization-") as folder:
        plain = Path(folder) / f"float32{path.suffix}"
        write_file(model, plain, config.format, **form)
        if config.format == "onnx":
            operators = quantize_onnx(plain, path, record, images)
        else:
            operators = quantize_openvino(model, path, record, images)
        measured = compare_precisions(plain, path, config, spec, images[0])
    calibration = {"data": spec.name, "split": split, "images": len(images), "image_size": list(size)}
    return record, {"calibration": calibration, "operators": operators, **measured}


def calibration_images(
    model: SegFormer, spec: DatasetSpec, split: str, size: tuple[int, int], fixed: bool, config: ExportConfig
) -> Iterator[Pixels]:
    """Images (1, H, W, 3) uint8 as evaluation feeds them, spread evenly over the split."""
    samples = list_samples(spec, split)
    count = min(config.calibration_images, len(samples))
    chosen = [samples[index * len(samples) // count] for index in range(count)]
    dataset = EvaluationDataset(chosen, spec, size, model.metadata.resize)
    for index in range(count):
        sample = exactly(dataset[index], size) if fixed else dataset[index]
        yield np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy())[None]


def quantize_onnx(plain: Path, path: Path, record: ExportRecord, images: list[Pixels]) -> dict[str, Any]:
    """Quantize an ONNX file with ONNX Runtime's static quantizer, in QDQ form.

    Args:
        plain: the float32 file.
        path: the file to write.
        record: what is written into it.
        images: calibration images, (1, H, W, 3) each.

    Returns:
        The operators that compute in int8 and in float32.
    """
    onnx = require_package("onnx", "onnx", "int8 in ONNX")
    require_package("onnxruntime", "onnx", "int8 in ONNX")
    with quiet():
        quantizer = require_package("onnxruntime.quantization", "onnx", "int8 in ONNX")
        shapes = require_package("onnxruntime.quantization.shape_inference", "onnx", "int8 in ONNX")
        prepared = plain.with_name("prepared.onnx")
        shapes.quant_pre_process(plain, prepared, skip_optimization=True, skip_symbolic_shape=True)
        quantizer.quantize_static(
            prepared,
            path,
            CalibrationReader(images),
            quant_format=quantizer.QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "MatMul"],
            per_channel=True,
            activation_type=quantizer.QuantType.QUInt8,
            weight_type=quantizer.QuantType.QInt8,
            nodes_to_exclude=first_and_last(onnx.load_model(prepared)),
        )
        model = onnx.load_model(path)
        del model.graph.value_info[:]
        write_properties(model, record)
        onnx.save_model(model, path)
    return onnx_operators(model)


class CalibrationReader:
    """Hands images out one by one, in the form that ONNX Runtime's quantizer asks for them."""

    def __init__(self, images: list[Pixels]) -> None:
        self._rest = iter(images)

    def get_next(self) -> dict[str, Pixels] | None:
        """The next input, or None at the end."""
        image = next(self._rest, None)
        return None if image is None else {INPUT_NAME: image}


def first_and_last(model: Any) -> list[str]:
    """Names of the first and the last convolution of an onnx.ModelProto: the pixels' and the classifier."""
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    return [convolutions[0], convolutions[-1]]


def quantize_openvino(model: SegFormer, path: Path, record: ExportRecord, images: list[Pixels]) -> dict[str, Any]:
    """Quantize with NNCF and write OpenVINO IR.

    Args:
        model: on the CPU.
        path: the .xml file to write.
        record: what is written into it.
        images: calibration images, (1, H, W, 3) each.

    Returns:
        The operators that compute in int8 and in float32.
    """
    import_openvino("int8 in OpenVINO")  # before NNCF, which would load its telemetry
    nncf = require_package("nncf", "int8", "int8 in OpenVINO")
    plain = convert(deploy_form(model, "openvino", record.output), record)
    with quiet():
        nncf.set_log_level("ERROR")
        quantized = nncf.quantize(
            plain,
            nncf.Dataset(images),
            preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(images),
        )
    write_openvino(quantized, path, record)
    return openvino_operators(quantized)


def compare_precisions(
    plain: Path, path: Path, config: ExportConfig, spec: DatasetSpec, image: Pixels
) -> dict[str, Any]:
    """mIoU, percent, and median latency of one image, milliseconds, of the float32 file and of the int8 one."""
    before, after = load_exported(plain), load_exported(path)
    results = {
        name: evaluate_exported(loaded, spec, config.split, batch_size=1, most_images=config.evaluation_images)
        for name, loaded in (("float32", before), ("int8", after))
    }
    latency = interleaved_medians({"float32": lambda: before(image), "int8": lambda: after(image)})
    first = next(iter(results.values()))
    return {
        "split": config.split,
        "images": first.images,
        "miou": {name: result.miou for name, result in results.items()},
        "latency_ms": latency,
        "latency_image_size": list(image.shape[1:3]),
    }
