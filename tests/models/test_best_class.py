"""Labels of enlarged logits: as torch's operators give them, and when the GPU's kernel stands in for them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import effiseg.models.best_class as module
from effiseg.models.best_class import best_class, kernel_labels

CPU = torch.device("cpu")


def expected(logits: Tensor, size: tuple[int, int]) -> Tensor:
    wide = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
    return wide.argmax(1).to(torch.uint8)


def good(logits: Tensor, size: tuple[int, int], crop: tuple[int, int]) -> Tensor:
    return expected(logits, size)[:, : crop[0], : crop[1]]


def wrong(logits: Tensor, size: tuple[int, int], crop: tuple[int, int]) -> Tensor:
    return good(logits, size, crop) + 1


def broken(logits: Tensor, size: tuple[int, int], crop: tuple[int, int]) -> Tensor:
    raise RuntimeError("Failed to find C compiler.\nPlease specify via CC")


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[..., Tensor]], None]]:
    """Puts a function in the place of the kernel, on a machine that seems to have Triton."""

    def install(function: Callable[..., Tensor]) -> None:
        stub = ModuleType("effiseg.models.label_kernel")
        stub.label_in_kernel = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, stub.__name__, stub)
        monkeypatch.setattr(module, "find_spec", lambda name: object())
        module._kernel_works.cache_clear()

    yield install
    module._kernel_works.cache_clear()


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
def test_interpolation_then_argmax(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 9, 13).to(kind)
    labels = best_class(logits, (35, 51))
    assert labels.dtype == torch.uint8
    assert torch.equal(labels, expected(logits, (35, 51)))


def test_the_kernel_is_for_gpus(kernel: Callable[[Callable[..., Tensor]], None]) -> None:
    kernel(broken)
    assert kernel_labels(torch.zeros(1, 3, 4, 4), (8, 8)) is None
    assert not best_class(torch.zeros(1, 3, 4, 4), (8, 8)).any()


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.filterwarnings("error")
def test_a_kernel_that_labels_as_torch_does_is_used(
    kernel: Callable[[Callable[..., Tensor]], None], kind: torch.dtype
) -> None:
    kernel(good)
    assert module._kernel_works(CPU, kind)


@pytest.mark.parametrize(
    ("function", "reason"),
    [(wrong, "its labels are not torch's"), (broken, r"RuntimeError: Failed to find C compiler\.\)")],
)
def test_a_kernel_that_fails_its_first_example_is_not_used(
    kernel: Callable[[Callable[..., Tensor]], None], function: Callable[..., Tensor], reason: str
) -> None:
    kernel(function)
    with pytest.warns(UserWarning, match=reason):
        assert not module._kernel_works(CPU, torch.float32)
    assert not module._kernel_works(CPU, torch.float32)  # and it is said once


@pytest.mark.filterwarnings("error")
def test_without_triton_nothing_is_said(
    kernel: Callable[[Callable[..., Tensor]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel(broken)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert not module._kernel_works(CPU, torch.float32)


class OnGpu:
    """What of a GPU's tensor decides whether the kernel takes it."""

    device = torch.device("cuda", 0)

    def __init__(self, dtype: torch.dtype, *shape: int) -> None:
        like = torch.empty(shape, dtype=dtype, device="meta")
        self.dtype, self.shape, self.stride = dtype, like.shape, like.stride


def test_what_the_kernel_takes(
    kernel: Callable[[Callable[..., Tensor]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[object, ...]] = []
    kernel(lambda *arguments: calls.append(arguments) or torch.zeros(1))
    monkeypatch.setattr(module, "_kernel_works", lambda device, dtype: dtype is not torch.float16)
    monkeypatch.setattr(module._kernel_works, "cache_clear", lambda: None, raising=False)
    for logits, size, crop, taken in (
        (OnGpu(torch.float32, 2, 19, 8, 8), (32, 32), None, (32, 32)),
        (OnGpu(torch.bfloat16, 2, 19, 8, 8), (32, 32), (30, 31), (30, 31)),
        (OnGpu(torch.float16, 2, 19, 8, 8), (32, 32), None, None),  # failed at its first use
        (OnGpu(torch.float64, 2, 19, 8, 8), (32, 32), None, None),
        (OnGpu(torch.float32, 70000, 2, 2, 2), (4, 4), None, None),
        (OnGpu(torch.float32, 1, 19, 8192, 8192), (64, 64), None, None),
        (OnGpu(torch.float32, 1, 19, 8, 8), (40000, 40000), None, None),
        (OnGpu(torch.float32, 1, 19, 8, 8), (40000, 40000), (20, 20), (20, 20)),
    ):
        calls.clear()
        answer = kernel_labels(logits, size, crop)  # type: ignore[arg-type]
        assert (answer is None) == (taken is None)
        assert calls == ([] if taken is None else [(logits, size, taken)])
