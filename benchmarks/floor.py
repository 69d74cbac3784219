"""What a machine can do at most, and how fast a SegFormer could therefore be on it.

python benchmarks/floor.py cpu float32 bfloat16 --threads 2     # the machine's best rates as JSON
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from effiseg.allocator import keep_freed_memory
from effiseg.benchmark.complexity import Layer, layers
from effiseg.benchmark.forward import DTYPES
from effiseg.config.engine import Precision
from effiseg.config.model import Variant

_SECONDS_A_KERNEL = 0.6
_COPIED_BYTES = {"cpu": 2**28, "cuda": 2**31}
# Square matrix products and convolutions large enough to run at full speed, small enough to be repeated.
_MATRIX_SIDES = {"cpu": (1024, 2048), "cuda": (8192,)}
_CONVOLUTIONS = {"cpu": ((1, 256, 64, 128), (1, 64, 128, 256)), "cuda": ((16, 256, 128, 256),)}
_DEPTHWISE = {"cpu": ((1, 128, 128, 256), (1, 256, 64, 128)), "cuda": ((16, 128, 128, 256),)}


def measure_peaks(device: str, precisions: Sequence[Precision]) -> dict[str, Any]:
    """The best that large single operators reach, with the threads that torch is set to.

    Args:
        device: cpu or cuda.
        precisions: float32, bfloat16 or float16.

    Returns:
        gflops: precision → matmul, conv and depthwise, 10⁹ operations a second, two to a multiply-accumulate;
        copy_gb_s: 10⁹ bytes a second, read and written; device and threads.
    """
    with torch.inference_mode():
        return {
            "device": device,
            "threads": torch.get_num_threads(),
            "copy_gb_s": _copy_rate(device),
            "gflops": {precision: _rates(device, DTYPES[precision]) for precision in precisions},
        }


def best_peaks(measured: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The highest of every rate: a disturbed measurement is only ever too low."""
    first = measured[0]
    return {
        **first,
        "copy_gb_s": max(peaks["copy_gb_s"] for peaks in measured),
        "gflops": {
            precision: {kind: max(peaks["gflops"][precision][kind] for peaks in measured) for kind in rates}
            for precision, rates in first["gflops"].items()
        },
    }


def floors_ms(
    variant: Variant,
    num_classes: int,
    image_size: tuple[int, int],
    peaks: dict[str, Any],
    precision: Precision,
    batch_size: int = 1,
) -> dict[str, float]:
    """Times that a pass of the deploy form cannot go under, milliseconds.

    Args:
        variant: "b0" to "b5".
        num_classes: K.
        image_size: (height, width).
        peaks: what `measure_peaks` gave.
        precision: one of those measured.
        batch_size: images of a pass.

    Returns:
        arithmetic: every multiply-accumulate at the best rate of dense operators, nothing else.
        by_kind: the same, depthwise convolutions at their own rate.
        roofline: layer by layer the longer of the arithmetic and of moving its input, output and weights once.
    """
    rates = peaks["gflops"][precision]
    dense = 1e6 * max(rates["matmul"], rates["conv"])  # operations a millisecond
    bandwidth = 1e6 * peaks["copy_gb_s"]
    item = DTYPES[precision].itemsize
    arithmetic = by_kind = roofline = 0.0
    for layer in deployed_layers(variant, num_classes, image_size):
        work = 2 * batch_size * layer.macs
        moved = item * (batch_size * layer.activations + layer.weights)
        arithmetic += work / dense
        by_kind += work / (1e6 * rates["depthwise"] if layer.kind == "depthwise" else dense)
        roofline += max(work / dense, moved / bandwidth)
    return {"arithmetic": arithmetic, "by_kind": by_kind, "roofline": roofline}


def deployed_layers(variant: Variant, num_classes: int, image_size: tuple[int, int]) -> Iterator[Layer]:
    """The layers that the composed head leaves: all but the fusing convolution."""
    return (layer for layer in layers(variant, num_classes, image_size) if layer.part != "fuse")


def _copy_rate(device: str) -> float:
    source = torch.ones(_COPIED_BYTES[device] // 4, device=device)
    target = torch.empty_like(source)
    return 2 * _COPIED_BYTES[device] / _best_seconds(lambda: target.copy_(source), device) / 1e9


def _rates(device: str, dtype: torch.dtype) -> dict[str, float]:
    def random(*shape: int) -> torch.Tensor:
        values = torch.rand(*shape, device=device).to(dtype)
        return values.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else values

    def matmul(side: int) -> float:
        left, right = random(side, side), random(side, side)
        return 2 * side**3 / _best_seconds(lambda: left @ right, device) / 1e9

    def convolve(shape: tuple[int, ...], groups: int) -> float:
        batch, channels, height, width = shape
        image, kernel = random(*shape), random(channels, channels // groups, 3, 3)
        seconds = _best_seconds(lambda: F.conv2d(image, kernel, padding=1, groups=groups), device)
        return 2 * batch * height * width * channels * (channels // groups) * 9 / seconds / 1e9

    return {
        "matmul": max(matmul(side) for side in _MATRIX_SIDES[device]),
        "conv": max(convolve(shape, 1) for shape in _CONVOLUTIONS[device]),
        "depthwise": max(convolve(shape, shape[1]) for shape in _DEPTHWISE[device]),
    }


def _best_seconds(run: Callable[[], Any], device: str) -> float:
    """The shortest of the calls that fit into a moment, at least three."""

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    run()
    best, calls, end = float("inf"), 0, time.perf_counter() + _SECONDS_A_KERNEL
    while calls < 3 or time.perf_counter() < end:
        wait()
        start = time.perf_counter()
        run()
        wait()
        best, calls = min(best, time.perf_counter() - start), calls + 1
    return best


def main() -> None:
    """Print what `measure_peaks` gives, from a process that holds nothing else."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("device", choices=("cpu", "cuda"))
    parser.add_argument("precisions", nargs="+", choices=tuple(DTYPES))
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    print(json.dumps(measure_peaks(options.device, options.precisions)))


if __name__ == "__main__":
    main()
