"""A small model with random norms, and files made of it once for all tests here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from effiseg.config.engine import ExportFormat
from effiseg.config.export import ExportConfig
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer

SIZE = (64, 96)
FILES: dict[ExportFormat, str] = {"onnx": "model.onnx", "openvino": "model.xml", "torch_export": "model.pt2"}


@pytest.fixture(scope="session")
def small_model(colour_data: Path) -> SegFormer:
    torch.manual_seed(0)
    model = SegFormer("b0", 3, "dyt", "dyl").eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
        model.decode_head.classifier.weight.mul_(50)
    spec = load_dataset_spec(colour_data)
    model.metadata = ModelMetadata(
        names=spec.names, palette=spec.palette, label_mapping={7: 0, 9: 1}, mean=(0.4, 0.5, 0.6), image_size=(48, 64)
    )
    return model


@pytest.fixture(scope="session")
def model_folder(small_model: SegFormer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "folder"
    save_pretrained(small_model, folder)
    return folder


@pytest.fixture(scope="session")
def exported(small_model: SegFormer, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`exported("onnx", output="labels")`: a checked file of the small model, written once."""
    from effiseg.export.exporter import export_model

    made: dict[object, Path] = {}

    def export(file_format: ExportFormat, **options: object) -> Path:
        key = (file_format, *sorted(options.items()))
        if key not in made:
            pytest.importorskip("openvino" if file_format == "openvino" else "onnxruntime")
            folder = tmp_path_factory.mktemp(file_format)
            config = ExportConfig(folder / FILES[file_format], file_format, **options)  # type: ignore[arg-type]
            export_model(small_model, config, "runs/small")
            made[key] = config.out
        return made[key]

    return export
