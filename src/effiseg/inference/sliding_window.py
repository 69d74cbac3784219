"""Images larger than the network's input: overlapping windows, their logits blended band by band.

Everything is blended at the size of the logits, and a band leaves as soon as no further
window reaches it. So memory grows with the image's width times the window's height, not with the image's area.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from effiseg.data.transforms import fits
from effiseg.inference.framing import Windows
from effiseg.inference.network import Predict


def logit_bands(
    predict: Predict, image: Tensor, valid_size: tuple[int, int], windows: Windows | None, batch_size: int = 1
) -> Iterator[Tensor]:
    """The logits of an image of any size, from top to bottom.

    Where windows overlap, their logits are averaged with weights that fall from a window's middle to its edges: a
    window knows least about what lies at its edge. The weights of every cell sum to 1, and are exactly 1 where only
    one window lies. An image in one window gets the network's own logits, bit for bit.

    Args:
        predict: images (B, 3, h, w) → logits.
        image: (3, H, W) uint8 RGB, padded; H and W multiples of the windows' `cell`, c.
        valid_size: (height, width) of the image in it, without padding.
        windows: None: the whole image in one pass, as where it fits in one window.
        batch_size: most windows of one pass.

    Yields:
        (K, rows, W/c) float32, H/c rows in all; (K, ⌈H/c⌉, ⌈W/c⌉) of any dtype where all of it is one window.
    """
    if windows is None or fits(valid_size, windows.size):
        yield predict(image[None])[0]
        return
    height, width = min(windows.size[0], image.shape[1]), min(windows.size[1], image.shape[2])
    tops = window_starts(image.shape[1], height, windows.stride[0])
    lefts = window_starts(image.shape[2], width, windows.stride[1])
    cell = windows.cell
    row_weights = blending_weights(tops, height, image.shape[1], cell)
    column_weights = blending_weights(lefts, width, image.shape[2], cell)
    band: Tensor | None = None
    for index, top in enumerate(tops):
        for start in range(0, len(lefts), batch_size):
            chosen = lefts[start : start + batch_size]
            answers = predict(torch.stack([image[:, top : top + height, left : left + width] for left in chosen]))
            if band is None:
                cells = (answers.shape[1], height // cell, image.shape[2] // cell)
                band = torch.zeros(cells, dtype=torch.float32, device=answers.device)
            rows = row_weights[index].to(answers.device)[:, None]
            for answer, left, columns in zip(answers, chosen, column_weights[start:], strict=False):
                part = band[:, :, left // cell : (left + width) // cell]
                part += answer * (rows * columns.to(answers.device))
        assert band is not None
        if index + 1 == len(tops):
            yield band
            return
        finished = (tops[index + 1] - top) // cell
        yield band[:, :finished]
        following = torch.zeros_like(band)
        following[:, : band.shape[1] - finished] = band[:, finished:]
        band = following


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """First pixels of the windows along one axis; the last window ends where the axis does.

    Args:
        length: pixels of the axis, at least `window`.
        window: pixels of a window.
        stride: pixels from one window to the next.
    """
    last = length - window
    return [*range(0, last, stride), last]


def blending_weights(starts: Sequence[int], window: int, length: int, cell: int = 4) -> list[Tensor]:
    """The weight of every cell of every window along one axis.

    Args:
        starts: first pixels of the windows.
        window: pixels of a window.
        length: pixels of the axis.
        cell: pixels that one logit stands for.

    Returns:
        One (window/cell,) float32 a window: triangles, divided so that the weights of a cell sum to 1.
    """
    cells = window // cell
    distance = torch.arange(cells, dtype=torch.float32)
    triangle = torch.minimum(distance, cells - 1 - distance) + 1
    total = torch.zeros(length // cell)
    for start in starts:
        total[start // cell : start // cell + cells] += triangle
    return [triangle / total[start // cell : start // cell + cells] for start in starts]


def with_mirror_image(predict: Predict) -> Predict:
    """The mean of the logits of an image and of its mirror image, which is turned back.

    The whole padded input is mirrored, so that the logits of both lie on each other; its width must be a multiple
    of the output stride.
    """

    def predict_both(images: Tensor) -> Tensor:
        return (predict(images) + predict(images.flip(-1)).flip(-1)) / 2

    return predict_both
