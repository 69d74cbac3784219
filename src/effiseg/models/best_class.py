"""From logits to the best class of every pixel at another size: interpolation, then argmax."""

from __future__ import annotations

import functools
import warnings
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

_KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_MOST_BATCH = 65535
_MOST_NUMBERS = 2**31 - 1


def best_class(logits: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Enlarge logits bilinearly (align_corners=False) and take the best class of every pixel.

    On a GPU in one kernel where it can be had, see `kernel_labels`.

    Args:
        logits: (B, K, h, w), any floating dtype, K ≤ 255; interpolated in float32.
        size: (H, W).

    Returns:
        (B, H, W) uint8; of equal logits the first class.
    """
    labels = kernel_labels(logits, (size[0], size[1]))
    return _interpolated(logits, size) if labels is None else labels


def kernel_labels(logits: Tensor, size: tuple[int, int], crop: tuple[int, int] | None = None) -> Tensor | None:
    """What `best_class` gives, from one Triton kernel that never writes the enlarged logits.

    Args:
        logits: (B, K, h, w), of any strides.
        size: (height, width) that the whole of the logits stands for.
        crop: (height, width) of the upper left part to return. Default: all.

    Returns:
        (B, *crop) uint8 on the logits' device; None where the kernel does not do it and the caller must: on the
        CPU, without Triton, of other dtypes or larger sizes, inside torch.compile and torch.export, which fuse
        the operators themselves, and on a machine whose kernel failed at its first use.
    """
    if logits.device.type != "cuda" or torch.compiler.is_compiling():
        return None
    if logits.dtype not in _KERNEL_DTYPES or logits.shape[0] > _MOST_BATCH:
        return None
    crop = crop or size
    # Within an image the kernel counts in 32 bits.
    reach = sum((side - 1) * stride for side, stride in zip(logits.shape[1:], logits.stride()[1:], strict=True))
    if max(reach, crop[0] * crop[1]) > _MOST_NUMBERS // 2 or not _kernel_works(logits.device, logits.dtype):
        return None
    from effiseg.models.label_kernel import label_in_kernel

    return label_in_kernel(logits, size, crop)


def _interpolated(logits: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    wide = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
    # Over the last axis of channels_last memory: a quarter of the time of argmax(1) on a CPU.
    return wide.permute(0, 2, 3, 1).argmax(-1).to(torch.uint8)


@functools.cache
def _kernel_works(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernel compiles here and labels an example as torch does; asked once of each device and dtype."""
    if find_spec("triton") is None:
        return False
    # Small integers enlarged four times are exact in every order of sums, so that ties are ties for both.
    numbers = torch.arange(2 * 5 * 7 * 9, device=device) * 7 % 11
    example = numbers.to(dtype).view(2, 5, 7, 9)
    try:
        from effiseg.models.label_kernel import label_in_kernel

        works = torch.equal(label_in_kernel(example, (28, 36), (27, 33)), _interpolated(example, (28, 36))[:, :27, :33])
        reason = "its labels are not torch's"
    except Exception as error:  # whatever a compiler that is missing or too old may raise
        works, reason = False, f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    if not works:
        warnings.warn(
            f"The Triton kernel for label maps is not used on {device} ({reason}); torch's operators do it, with more "
            "memory.",
            stacklevel=2,
        )
    return works
