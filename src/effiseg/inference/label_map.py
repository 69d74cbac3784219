"""From logits at a quarter, or an eighth, of the input's size to a label map at the image's own size."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

# Enlarged logits that exist at one time. On the CPU 4 MiB stay in the cache: 76 ms for 1024×2048 and 19
# classes on one thread, against 132 ms in one piece and 378 ms when the memory is not channels last.
_CPU_CHUNK = 2**20
_GPU_CHUNK = 2**27


def label_map(logits: Tensor, size: tuple[int, int], crop: tuple[int, int] | None = None) -> Tensor:
    """Enlarge logits bilinearly (align_corners=False) and take the best class of every pixel.

    The same labels as `F.interpolate(logits, size)[..., :crop].argmax(0)`, a few rows at a time: memory does not
    grow with the output's size.

    Args:
        logits: (K, h, w), any floating dtype, K ≤ 255; interpolated in float32.
        size: (height, width) that the whole of the logits stands for.
        crop: (height, width) of the upper left part to return; the rest is padding. Default: all.

    Returns:
        (height, width) uint8 class indices on the logits' device.
    """
    return label_map_of_bands([logits], logits.shape[1], size, crop)


def label_map_of_bands(
    bands: Iterable[Tensor], source_height: int, size: tuple[int, int], crop: tuple[int, int] | None = None
) -> Tensor:
    """`label_map` of logits that come band by band: what is above a finished row is not kept.

    Args:
        bands: (K, rows, w) from top to bottom, any floating dtype; at least one.
        source_height: h, the rows of all bands together.
        size: see `label_map`.
        crop: see `label_map`.

    Returns:
        (height, width) uint8 class indices on the first band's device; the same as of all bands in one.
    """
    height, width = crop or size
    assert height <= size[0], (size, crop)
    assert width <= size[1], (size, crop)
    position = torch.arange(height, dtype=torch.float32)
    position = ((position + 0.5) * (source_height / size[0]) - 0.5).clamp_(min=0)
    above = position.long()
    below = (above + 1).clamp_(max=source_height - 1)
    weight = (position - above)[:, None, None]
    labels = torch.empty(0)
    rows: Tensor | None = None  # source rows that are still needed
    first = done = 0  # the number of the first of them, and of the label rows that are written
    for band in bands:
        new = band.permute(1, 2, 0).float().contiguous()  # (rows, w, K)
        if rows is None:
            labels = torch.empty(height, width, dtype=torch.uint8, device=band.device)
            rows, weight = new, weight.to(band.device)
        else:
            rows = torch.cat([rows, new])
        ready = int((below < first + len(rows)).sum())
        _write_labels(rows, slice(done, ready), (above - first, below - first, weight), size[1], labels)
        done = ready
        if done < height:
            needed = min(int(above[done]) - first, len(rows))  # rows may be skipped where labels are fewer
            rows, first = rows[needed:], first + needed
    assert done == height, (done, height)
    return labels


def whole_size(padded: tuple[int, int], valid: tuple[int, int], full: tuple[int, int]) -> tuple[int, int]:
    """The area that a padded network input stands for, where its valid upper left part stands for the whole image.

    Args:
        padded: (height, width) of the network's input.
        valid: (height, width) of the image in it.
        full: (height, width) of the image as it came.

    Returns:
        (height, width), the `size` of `label_map` whose `crop` is `full`.
    """
    return round(padded[0] * full[0] / valid[0]), round(padded[1] * full[1] / valid[1])


def enlarged_labels(labels: Tensor, size: tuple[int, int], crop: tuple[int, int]) -> Tensor:
    """`label_map` for a network that answers with labels: the nearest neighbour.

    Args:
        labels: (h, w) uint8.
        size: see `label_map`.
        crop: see `label_map`.
    """
    return F.interpolate(labels[None, None], size=size, mode="nearest-exact")[0, 0, : crop[0], : crop[1]]


def _write_labels(
    rows: Tensor, span: slice, place: tuple[Tensor, Tensor, Tensor], full_width: int, labels: Tensor
) -> None:
    """Rows `span` of `labels` from `rows` (h, w, K): row i lies between rows above[i] and below[i] with weight[i]."""
    above, below, weight = place
    width = labels.shape[1]
    chunk = _CPU_CHUNK if rows.device.type == "cpu" else _GPU_CHUNK
    step = max(1, chunk // (full_width * rows.shape[2]))
    for start in range(span.start, span.stop, step):
        part = slice(start, min(start + step, span.stop))
        mixed = torch.lerp(rows[above[part]], rows[below[part]], weight[part])  # (rows, w, K)
        # The added batch dimension comes before the permutation, so that torch sees channels-last strides.
        wide = F.interpolate(
            mixed[None].permute(0, 3, 1, 2),
            size=(mixed.shape[0], full_width),
            mode="bilinear",
            align_corners=False,
        )
        labels[part] = wide[0, :, :, :width].permute(1, 2, 0).argmax(-1)
