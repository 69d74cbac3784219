"""Labels out of logits against interpolating everything and taking the best class."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import effiseg.inference.label_map as module
from effiseg.inference.label_map import label_map


def reference(logits: Tensor, size: tuple[int, int], crop: tuple[int, int]) -> Tensor:
    wide = F.interpolate(logits[None].double(), size=size, mode="bilinear", align_corners=False)[0]
    return wide[:, : crop[0], : crop[1]].argmax(0)


@pytest.mark.parametrize(
    ("shape", "size", "crop"),
    [
        ((5, 16, 24), (64, 96), (64, 96)),
        ((5, 16, 24), (64, 96), (61, 90)),
        ((19, 9, 13), (83, 131), (83, 120)),
        ((2, 40, 40), (17, 23), (17, 23)),
        ((3, 1, 1), (4, 4), (4, 3)),
        ((1, 4, 4), (16, 16), (16, 16)),
    ],
)
def test_interpolation_then_argmax(shape: tuple[int, int, int], size: tuple[int, int], crop: tuple[int, int]) -> None:
    torch.manual_seed(0)
    logits = torch.randn(shape)
    labels = label_map(logits, size, crop)
    assert labels.dtype == torch.uint8
    assert labels.shape == crop
    # A tie of two classes to the last bit may fall either way.
    assert (labels != reference(logits, size, crop)).float().mean() < 1e-4


def test_the_pieces_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    logits = torch.randn(6, 12, 10)
    whole = label_map(logits, (50, 41))
    monkeypatch.setattr(module, "_CPU_CHUNK", 1)
    assert torch.equal(label_map(logits, (50, 41)), whole)
    monkeypatch.setattr(module, "_CPU_CHUNK", 7 * 41 * 6)
    assert torch.equal(label_map(logits, (50, 41)), whole)


def test_half_precision_is_interpolated_in_float32() -> None:
    torch.manual_seed(2)
    logits = torch.randn(4, 8, 8).bfloat16()
    assert torch.equal(label_map(logits, (33, 35)), label_map(logits.float(), (33, 35)))
