"""Enlarging logits and taking the best class in one Triton kernel, which never writes the enlarged logits.

Imported on a GPU alone: `best_class` asks it there and checks it once before it relies on it.
"""

from __future__ import annotations

import torch
import triton  # type: ignore[import-not-found,import-untyped,unused-ignore]
import triton.language as tl  # type: ignore[import-not-found,import-untyped,unused-ignore]
from torch import Tensor

PIXELS = 128
"""Pixels that a program labels, one a thread."""


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _label_pixels(  # type: ignore[no-untyped-def]
    logits,
    labels,
    classes,
    source_height,
    source_width,
    height,
    width,
    image_stride,
    class_stride,
    row_stride,
    column_stride,
    row_scale,
    column_scale,
    pixels: tl.constexpr,
):
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * pixels + tl.arange(0, pixels)
    inside = pixel < height * width
    row, column = pixel // width, pixel % width
    # Where a pixel's centre lies among the centres of the source, as torch's interpolation has it.
    y = tl.maximum((row.to(tl.float32) + 0.5) * row_scale - 0.5, 0.0)
    x = tl.maximum((column.to(tl.float32) + 0.5) * column_scale - 0.5, 0.0)
    above = tl.minimum(y.to(tl.int32), source_height - 1)
    left = tl.minimum(x.to(tl.int32), source_width - 1)
    below = tl.minimum(above + 1, source_height - 1)
    right = tl.minimum(left + 1, source_width - 1)
    down = y - above.to(tl.float32)
    across = x - left.to(tl.float32)
    source = logits + image * image_stride
    best = tl.full((pixels,), float("-inf"), tl.float32)
    label = tl.full((pixels,), 0, tl.int32)
    for index in range(classes):
        upper, lower = source + above * row_stride, source + below * row_stride
        a = tl.load(upper + left * column_stride, mask=inside, other=0.0).to(tl.float32)
        b = tl.load(upper + right * column_stride, mask=inside, other=0.0).to(tl.float32)
        c = tl.load(lower + left * column_stride, mask=inside, other=0.0).to(tl.float32)
        d = tl.load(lower + right * column_stride, mask=inside, other=0.0).to(tl.float32)
        value = (1.0 - down) * ((1.0 - across) * a + across * b) + down * ((1.0 - across) * c + across * d)
        # As torch.argmax: the first of equal values, and nan above all.
        better = (value > best) | ((value != value) & (best == best))
        best = tl.where(better, value, best)
        label = tl.where(better, index, label)
        source += class_stride
    tl.store(labels + image * height * width + pixel, label.to(tl.uint8), mask=inside)


def label_in_kernel(logits: Tensor, size: tuple[int, int], crop: tuple[int, int], pixels: int = PIXELS) -> Tensor:
    """The best class of the enlarged logits (bilinear, align_corners=False, in float32) of every pixel.

    Args:
        logits: (B, K, h, w) float32, float16 or bfloat16 of any strides, on a GPU (or on the CPU, where
            TRITON_INTERPRET=1 was set before this module was imported). B at most 65535, K at most 255, and less
            than 2³¹ numbers in one image's logits and in `crop`.
        size: (height, width) that the whole of the logits stands for.
        crop: (height, width) of the upper left part to return.
        pixels: of one program, a power of 2.

    Returns:
        (B, *crop) uint8.
    """
    batch, classes, source_height, source_width = logits.shape
    height, width = crop
    labels = torch.empty(batch, height, width, dtype=torch.uint8, device=logits.device)
    # Triton launches on the current device, which need not be the tensor's.
    with torch.cuda.device_of(logits):  # type: ignore[no-untyped-call]
        _label_pixels[(triton.cdiv(height * width, pixels), batch)](
            logits,
            labels,
            classes,
            source_height,
            source_width,
            height,
            width,
            *logits.stride(),
            source_height / size[0],
            source_width / size[1],
            pixels=pixels,
        )
    return labels
