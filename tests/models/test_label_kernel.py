"""The Triton kernel in Triton's interpreter, which runs it on the CPU, against torch's operators."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

pytest.importorskip("triton", reason="the kernel is Triton's, which comes with torch's builds for GPUs")
PIXELS = 4096


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module as it is where the interpreter was asked for before it was imported."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.delitem(sys.modules, "effiseg.models.label_kernel", raising=False)
    found = importlib.import_module("effiseg.models.label_kernel")
    yield found
    sys.modules.pop("effiseg.models.label_kernel", None)


def enlarged(logits: Tensor, size: tuple[int, int], crop: tuple[int, int]) -> Tensor:
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)[:, :, : crop[0], : crop[1]]


@pytest.mark.parametrize(
    ("shape", "size", "crop", "kind"),
    [
        ((2, 19, 9, 13), (35, 51), (35, 51), torch.float32),
        ((1, 7, 16, 24), (64, 96), (61, 90), torch.float16),
        ((3, 2, 5, 3), (17, 130), (16, 129), torch.bfloat16),
        ((1, 150, 4, 5), (16, 20), (16, 20), torch.float32),
        ((1, 5, 20, 30), (7, 11), (7, 10), torch.float32),
        ((1, 3, 1, 1), (4, 6), (4, 6), torch.float32),
        ((2, 1, 4, 4), (15, 16), (15, 16), torch.bfloat16),
    ],
)
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_no_class_is_better_than_the_kernels(
    kernel: Any,
    shape: tuple[int, ...],
    size: tuple[int, int],
    crop: tuple[int, int],
    kind: torch.dtype,
    memory: torch.memory_format,
) -> None:
    torch.manual_seed(0)
    logits = torch.randn(shape).to(kind).contiguous(memory_format=memory)
    labels = kernel.label_in_kernel(logits, size, crop, PIXELS)
    assert labels.dtype == torch.uint8
    assert labels.shape == (shape[0], *crop)
    wide = enlarged(logits.double(), size, crop)
    chosen = wide.gather(1, labels[:, None].long())[:, 0]
    # Rounding may decide between two classes that are all but equal, and between no others.
    assert (wide.amax(1) - chosen).max() < 1e-5
    assert (labels != wide.argmax(1)).float().mean() < 1e-3


@pytest.mark.parametrize("pixels", [128, PIXELS])
def test_ties_go_to_the_first_class_and_nan_wins(kernel: Any, pixels: int) -> None:
    torch.manual_seed(0)
    logits = torch.randint(-2, 3, (2, 7, 5, 6)).float()  # exact at four times the size
    logits[0, 3, 2, 2] = torch.nan
    logits[1, :, 0, 0] = -torch.inf
    expected = enlarged(logits, (20, 24), (20, 24)).argmax(1)
    assert torch.equal(kernel.label_in_kernel(logits, (20, 24), (20, 24), pixels), expected.to(torch.uint8))
    assert (expected[0] == 3).any()


def test_logits_that_lie_among_others(kernel: Any) -> None:
    torch.manual_seed(0)
    logits = torch.randint(-9, 9, (2, 12, 10, 9)).float()[:, 1::2, 2:, ::2].transpose(2, 3)
    expected = enlarged(logits, (20, 32), (20, 32)).argmax(1)
    assert torch.equal(kernel.label_in_kernel(logits, (20, 32), (20, 32), PIXELS), expected.to(torch.uint8))
