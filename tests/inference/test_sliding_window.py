"""Sliding windows against adding everything up in one full-size sum, and against the whole image."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from effiseg.errors import UsageError
from effiseg.inference.framing import Windows, make_windows
from effiseg.inference.label_map import label_map, label_map_of_bands
from effiseg.inference.sliding_window import (
    blending_weights,
    logit_bands,
    window_starts,
    with_mirror_image,
)


def predict(images: Tensor) -> Tensor:
    """Logits that know where in the window they lie, so that blending shows."""
    means = F.avg_pool2d(images.float(), 4)
    ramp = torch.linspace(0, 1, means.shape[-1])
    return torch.cat([means / 255, (means[:, :1] / 255 * ramp).sin()], 1)


def image_of(height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(height), dtype=torch.uint8)


@pytest.mark.parametrize(("length", "window", "stride"), [(96, 96, 32), (100, 96, 96), (200, 64, 40), (128, 64, 64)])
def test_windows_leave_no_gap_and_end_with_the_image(length: int, window: int, stride: int) -> None:
    starts = window_starts(length, window, stride)
    assert starts[0] == 0
    assert starts[-1] == length - window
    assert all(0 < after - before <= stride for before, after in pairwise(starts))
    total = torch.zeros(length // 4)
    for start, weights in zip(starts, blending_weights(starts, window, length), strict=True):
        assert (weights > 0).all()
        total[start // 4 : (start + window) // 4] += weights
    assert torch.allclose(total, torch.ones_like(total))


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize(
    ("shape", "windows"),
    [
        ((128, 160), Windows((64, 64), (40, 40))),
        ((64, 224), Windows((96, 64), (64, 32))),  # higher than the image
        ((160, 96), Windows((64, 96), (64, 64))),
    ],
)
def test_bands_are_the_weighted_mean_of_all_windows(shape: tuple[int, int], windows: Windows, batch_size: int) -> None:
    image = image_of(*shape)
    found = torch.cat(list(logit_bands(predict, image, shape, windows, batch_size)), 1)
    height, width = min(windows.size[0], shape[0]), min(windows.size[1], shape[1])
    total, weight = torch.zeros_like(found), torch.zeros_like(found)
    rows, columns = (torch.minimum(torch.arange(n), n - 1 - torch.arange(n)) + 1.0 for n in (height // 4, width // 4))
    for top in window_starts(shape[0], height, windows.stride[0]):
        for left in window_starts(shape[1], width, windows.stride[1]):
            place = (slice(None), slice(top // 4, (top + height) // 4), slice(left // 4, (left + width) // 4))
            total[place] += (
                predict(image[None, :, top : top + height, left : left + width])[0] * rows[:, None] * columns
            )
            weight[place] += rows[:, None] * columns
    assert torch.allclose(found, total / weight, atol=1e-6)


def test_what_one_window_alone_sees_is_its_own_answer_bit_for_bit() -> None:
    image = image_of(64, 128)
    found = torch.cat(list(logit_bands(predict, image, (64, 128), Windows((64, 64), (64, 64)))), 1)
    expected = torch.cat([predict(image[None, :, :, :64])[0], predict(image[None, :, :, 64:])[0]], 2)
    assert torch.equal(found, expected)


def test_an_image_in_one_window_is_one_pass() -> None:
    image = image_of(64, 96)
    (band,) = logit_bands(predict, image, (50, 90), Windows((52, 92), (4, 4)))
    assert torch.equal(band, predict(image[None])[0])


def test_labels_of_bands_are_the_labels_of_all() -> None:
    logits = torch.randn(4, 20, 12, generator=torch.Generator().manual_seed(3))
    whole = label_map(logits, (77, 50), (70, 49))
    for cuts in ([1] * 20, [7, 1, 12], [19, 1]):
        bands = iter(logits.split(cuts, 1))
        assert torch.equal(label_map_of_bands(bands, 20, (77, 50), (70, 49)), whole)
    shrunk = label_map(logits, (5, 6))
    assert torch.equal(label_map_of_bands(logits.split(3, 1), 20, (5, 6)), shrunk)


def test_the_mirror_image_is_turned_back() -> None:
    image = image_of(32, 64)[None]
    both = with_mirror_image(predict)
    assert torch.allclose(both(image), both(image.flip(-1)).flip(-1))
    assert torch.allclose(both(image), (predict(image) + predict(image.flip(-1)).flip(-1)) / 2)


def test_the_default_stride_is_two_thirds_of_the_window() -> None:
    assert make_windows((96, 64)) == Windows((96, 64), (64, 40))
    assert make_windows((96, 64), 48) == Windows((96, 64), (48, 48))


def test_windows_of_a_network_that_answers_at_an_eighth() -> None:
    def coarse(images: Tensor) -> Tensor:
        return F.avg_pool2d(predict(images), 2)

    image = image_of(128, 160)
    windows = make_windows((64, 64), 40, cell=8)
    found = torch.cat(list(logit_bands(coarse, image, (128, 160), windows, 2)), 1)
    total, weight = torch.zeros_like(found), torch.zeros_like(found)
    for rows, top in zip(blending_weights([0, 40, 64], 64, 128, 8), (0, 40, 64), strict=True):
        for columns, left in zip(blending_weights([0, 40, 80, 96], 64, 160, 8), (0, 40, 80, 96), strict=True):
            place = (slice(None), slice(top // 8, top // 8 + 8), slice(left // 8, left // 8 + 8))
            share = rows[:, None] * columns
            total[place] += coarse(image[None, :, top : top + 64, left : left + 64])[0] * share
            weight[place] += share
    assert torch.allclose(weight, torch.ones_like(weight), atol=1e-6)
    assert torch.allclose(found, total, atol=1e-6)
    with pytest.raises(UsageError, match="multiples of 8, which one logit stands for; found 68x64"):
        make_windows((68, 64), cell=8)
    with pytest.raises(UsageError, match="--stride must be a multiple of 8"):
        make_windows((64, 64), 36, cell=8)
