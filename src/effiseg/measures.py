"""Ranges of the measures in results files, whatever file they stand in; it may have been edited by hand. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

_PERCENT = frozenset(
    {"miou", "class_iou", "mean_accuracy", "pixel_accuracy", "image_iou", "miou_interval", "boundary_miou",
     "boundary_iou", "chance_miou"}
)  # fmt: skip
_NOT_NEGATIVE = frozenset(
    {"images", "confusion", "image_counts", "image_size", "seed", "seeds", "steps", "train_seconds", "params_m",
     "gmacs", "gmacs_attention", "miou_sd", "latency_ms", "latency_spread_ms", "fps", "class_weights", "weights",
     "samples_ms", "p95_ms", "batch_size", "threads", "params", "file_mb", "speedup", "memory_before_mib",
     "peak_memory_mib", "rounds", "passes"}
)  # fmt: skip
_SHARES = frozenset({"class_shares", "shares", "label_agreement"})
_LARGEST = 1e15
"""Numbers of results are smaller: counts of pixels, bytes, seconds."""
_ROUNDING = 1e-6


def odd_numbers(value: Any, place: str = "", key: str = "") -> Iterator[tuple[str, float, str]]:
    """Numbers that a measure of that name cannot have: their place, themselves, and the rule.

    Args:
        value: parsed JSON.
        place: where it stands; empty for a whole file.
        key: the measure that decides the rule; everything below a measure is of its kind.
    """
    ruled = key in _PERCENT or key in _NOT_NEGATIVE or key in _SHARES
    match value:
        case bool() | None | str():
            return
        case int() | float():
            if not (math.isfinite(value) if isinstance(value, float) else True) or not abs(value) <= _LARGEST:
                yield place, value, f"a number of at most {_LARGEST:g}"
            elif key in _PERCENT and not -_ROUNDING <= value <= 100 + _ROUNDING:
                yield place, value, "from 0 to 100, percent"
            elif key in _SHARES and not 0 <= value <= 1:
                yield place, value, "a share, from 0 to 1"
            elif key in _NOT_NEGATIVE and value < 0:
                yield place, value, "at least 0"
        case Mapping():
            for name, inner in value.items():
                yield from odd_numbers(inner, f"{place}.{name}" if place else str(name), key if ruled else str(name))
        case list() | tuple():
            if len(value) > 2 and all(type(item) in (int, float) for item in value):
                value = [min(value), max(value)] if all(map(math.isfinite, value)) else value
            for index, item in enumerate(value):
                yield from odd_numbers(item, f"{place}[{index}]" if not ruled else place, key)
