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

from effiseg.config.export import ExportConfig
from effiseg.data.dataset import EvaluationDataset
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.samples import evenly_spread, list_samples
from effiseg.engines import load_exported
from effiseg.engines.engine import FileEngine, Pixels
from effiseg.engines.record import ExportRecord
from effiseg.evaluation.evaluator import evaluate
from effiseg.export.writing import describe, write_file
from effiseg.inference.framed_network import padded_to
from effiseg.inference.framing import Framing, known_size
from effiseg.inference.network import exported_network
from effiseg.inference.timing import interleaved_medians
from effiseg.models.segformer import SegFormer


def quantize(
    model: SegFormer, path: Path, engine: FileEngine, config: ExportConfig, spec: DatasetSpec, form: dict[str, Any]
) -> tuple[ExportRecord, dict[str, Any]]:
    """Write a model in int8.

    Args:
        model: on the CPU.
        path: the file; what else belongs to it lies beside it.
        engine: what will run it.
        config: number of calibration images, split to measure on.
        spec: the data set.
        form: input_size, output and source, as `write_file` takes them.

    Returns:
        What the file says of itself, and the report: calibration, operators, and mIoU and latency of the
        float32 file and of this one in the same engine.

    Raises:
        UsageError: a package is not installed, or there is no input size to calibrate at.
        DataError: the data set breaks a rule.
    """
    size = known_size(
        form["source"], form["input_size"], model.metadata.image_size, fix="export it for one with --image_size"
    )
    split = "train" if "train" in spec.splits else config.split
    images = list(_calibration_images(model, spec, split, size, form["input_size"] is not None, config))
    record = describe(model, precision="int8", **form)
    with tempfile.TemporaryDirectory(prefix="effiseg-quantization-") as folder:
        plain = Path(folder) / f"float32{path.suffix}"
        write_file(model, plain, engine, **form)
        operators = engine.quantize(model, plain, path, record, images)
        measured = _compare_precisions(plain, path, config, spec, images[0])
    calibration = {"data": spec.name, "split": split, "images": len(images), "image_size": list(size)}
    return record, {"calibration": calibration, "operators": operators, **measured}


def _calibration_images(
    model: SegFormer, spec: DatasetSpec, split: str, size: tuple[int, int], fixed: bool, config: ExportConfig
) -> Iterator[Pixels]:
    """Images (1, H, W, 3) uint8 as evaluation feeds them, spread evenly over the split."""
    chosen = evenly_spread(list_samples(spec, split), config.calibration_images)
    dataset = EvaluationDataset(chosen, spec, size, model.metadata.resize)
    for index in range(len(chosen)):
        image = padded_to(dataset[index].image, size) if fixed else dataset[index].image
        yield np.ascontiguousarray(image.permute(1, 2, 0).numpy())[None]


def _compare_precisions(
    plain: Path, path: Path, config: ExportConfig, spec: DatasetSpec, image: Pixels
) -> dict[str, Any]:
    """mIoU, percent, and median latency of one image, milliseconds, of the float32 file and of the int8 one."""
    before, after = load_exported(plain), load_exported(path)
    framing = Framing(batch_size=1)
    results = {
        name: evaluate(exported_network(loaded), framing, spec, config.split, most_images=config.evaluation_images)
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
