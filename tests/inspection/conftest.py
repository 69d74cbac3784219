"""Models whose norms have seen something, and samples of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from effiseg.config.model import Norm, Variant
from effiseg.data.dataset import EvaluationDataset
from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.samples import list_samples
from effiseg.models.metadata import ModelMetadata
from effiseg.models.segformer import SegFormer

MakeModel = Callable[..., SegFormer]


@pytest.fixture(scope="session")
def make_model() -> MakeModel:
    """`make_model(variant, patch_norm, block_norm)`: random weights, norms away from their start."""

    def make(variant: Variant = "b0", patch_norm: Norm = "layer_norm", block_norm: Norm = "layer_norm") -> SegFormer:
        torch.manual_seed(0)
        model = SegFormer(variant, 3, patch_norm, block_norm)
        for name, parameter in model.encoder.named_parameters():
            if "norm" in name:
                torch.nn.init.normal_(parameter, 0.0 if name.endswith("bias") else 0.8, 0.2)
        model.metadata = ModelMetadata(names=("grey", "red", "blue"), image_size=(48, 64))
        return model

    return make


@pytest.fixture(scope="session")
def spec(colour_data: Path) -> DatasetSpec:
    return load_dataset_spec(colour_data)


@pytest.fixture(scope="session")
def dataset(spec: DatasetSpec) -> EvaluationDataset:
    """Images 48x64, padded to 64x64."""
    return EvaluationDataset(list_samples(spec, "val"), spec, (48, 64), "keep_ratio")
