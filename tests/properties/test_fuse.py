"""The deploy form equals the model for any input size, norm and weights."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from effiseg.models.fuse import fuse
from effiseg.models.metadata import ModelMetadata
from effiseg.models.segformer import SegFormer

NORMS = st.sampled_from(["layer_norm", "dyt", "dyl", "derf"])


@settings(max_examples=6)
@given(
    patch_norm=NORMS, block_norm=NORMS, centered=st.booleans(), classes=st.integers(2, 9), seed=st.integers(0, 999),
    size=st.tuples(st.integers(32, 80), st.integers(32, 80)),
)  # fmt: skip
def test_the_same_logits(patch_norm, block_norm, centered: bool, classes: int, seed: int, size) -> None:
    torch.manual_seed(seed)
    model = SegFormer(
        "b0", classes, patch_norm, block_norm,
        patch_centered=centered and patch_norm != "layer_norm", block_centered=centered and block_norm != "layer_norm",
    )  # fmt: skip
    model.metadata = ModelMetadata.unnamed(classes)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.ndim == 1 and name != "alpha":
                nn.init.uniform_(parameter, 0.5, 1.5)
    model = model.double().eval()
    images = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    with torch.inference_mode():
        values = (images / 255 - torch.tensor(model.metadata.mean).view(1, 3, 1, 1)) / torch.tensor(
            model.metadata.std
        ).view(1, 3, 1, 1)
        expected = model(values.double())
        found = fuse(model)(values.double())
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8 * float(expected.abs().max() + 1))
