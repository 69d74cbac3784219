"""Which operators of a quantized network compute in int8, and which stayed in float."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

MULTIPLYING = {"Conv", "ConvTranspose", "Gemm", "MatMul", "Convolution", "GroupConvolution"}
"""Operators worth quantizing, as ONNX and OpenVINO call them."""
MOVING = {
    "Broadcast", "Cast", "Concat", "Constant", "Convert", "Expand", "Flatten", "Gather", "Identity", "Parameter",
    "Reshape", "Result", "Shape", "ShapeOf", "Slice", "Split", "Squeeze", "StridedSlice", "Transpose", "Unsqueeze",
    "VariadicSplit",
}  # fmt: skip
"""Operators that only move numbers."""
ROUNDING = {"QuantizeLinear", "DequantizeLinear", "FakeQuantize"}
"""Operators that stand for the rounding itself."""


def onnx_operators(model: Any) -> dict[str, Any]:
    """The operators of an onnx.ModelProto in QDQ form; see `_sorted`."""
    makers = {name: node for node in model.graph.node for name in node.output}

    def source(node: Any) -> Any:
        return makers.get(node.input[0]) if node.input else None

    found = [
        (node.name, node.op_type, _quantized(source(node), lambda n: n.op_type, source)) for node in model.graph.node
    ]
    return _sorted(found)


def openvino_operators(model: Any) -> dict[str, Any]:
    """The operators of an openvino.Model with FakeQuantize; see `_sorted`."""

    def source(node: Any) -> Any:
        return node.input_value(0).get_node() if node.get_input_size() else None

    found = [
        (node.get_friendly_name(), node.get_type_name(), _quantized(source(node), lambda n: n.get_type_name(), source))
        for node in model.get_ordered_ops()
    ]
    return _sorted(found)


def _quantized(node: Any, kind: Callable[[Any], str], source: Callable[[Any], Any]) -> bool:
    """Whether what feeds an operator was rounded, seen through operators that only move numbers."""
    while node is not None and kind(node) in MOVING:
        node = source(node)
    return node is not None and kind(node) in ROUNDING


def _sorted(found: list[tuple[str, str, bool]]) -> dict[str, Any]:
    """Counts by kind, and the names of multiplying operators that stayed in float.

    Returns:
        int8: kind → count of multiplying operators that read rounded numbers. float32: kind → count of all
        others that compute. multiplying_in_float32: names of the multiplying ones among these.
    """
    int8: Counter[str] = Counter()
    remaining: Counter[str] = Counter()
    names: list[str] = []
    for name, kind, quantized in found:
        if kind in MOVING or kind in ROUNDING:
            continue
        if kind in MULTIPLYING and quantized:
            int8[kind] += 1
            continue
        remaining[kind] += 1
        if kind in MULTIPLYING:
            names.append(name)
    return {"int8": dict(int8), "float32": dict(remaining), "multiplying_in_float32": names}
