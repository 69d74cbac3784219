"""Which operators of a quantized network compute in int8, and which stayed in float."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

_MULTIPLYING = {"Conv", "ConvTranspose", "Gemm", "MatMul", "Convolution", "GroupConvolution"}
"""Operators worth quantizing, as the engines call them."""
_MOVING = {
    "Broadcast", "Cast", "Concat", "Constant", "Convert", "Expand", "Flatten", "Gather", "Identity", "Parameter",
    "Reshape", "Result", "Shape", "ShapeOf", "Slice", "Split", "Squeeze", "StridedSlice", "Transpose", "Unsqueeze",
    "VariadicSplit",
}  # fmt: skip
"""Operators that only move numbers."""
_ROUNDING = {"QuantizeLinear", "DequantizeLinear", "FakeQuantize"}
"""Operators that stand for the rounding itself."""


def sorted_operators(
    nodes: Iterable[Any], name: Callable[[Any], str], kind: Callable[[Any], str], source: Callable[[Any], Any]
) -> dict[str, Any]:
    """Counts by kind, and the names of multiplying operators that stayed in float.

    Args:
        nodes: the operators of a quantized network.
        name: what an operator is called.
        kind: its kind.
        source: the operator that feeds its first input, or None.

    Returns:
        int8: kind → count of multiplying operators that read rounded numbers. float32: kind → count of all
        others that compute. multiplying_in_float32: names of the multiplying ones among these.
    """

    def reads_rounded(node: Any) -> bool:
        """Whether what feeds an operator was rounded, seen through operators that only move numbers."""
        feeding = source(node)
        while feeding is not None and kind(feeding) in _MOVING:
            feeding = source(feeding)
        return feeding is not None and kind(feeding) in _ROUNDING

    int8: Counter[str] = Counter()
    remaining: Counter[str] = Counter()
    names: list[str] = []
    for node in nodes:
        own = kind(node)
        if own in _MOVING or own in _ROUNDING:
            continue
        if own in _MULTIPLYING and reads_rounded(node):
            int8[own] += 1
            continue
        remaining[own] += 1
        if own in _MULTIPLYING:
            names.append(name(node))
    return {"int8": dict(int8), "float32": dict(remaining), "multiplying_in_float32": names}
