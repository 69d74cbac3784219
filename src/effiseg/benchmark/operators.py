"""Which operators take the time of a pass, as each engine tells it."""

from __future__ import annotations

from typing import Any

from effiseg.benchmark.forward import Forward

_MOST = 10
_PASSES = 3


def top_operators(forward: Forward) -> list[dict[str, Any]]:
    """The kinds of operators that take most time, longest first.

    Returns:
        For each kind: type (the engine's name of it), ms (of one pass) and share (of all operators, 0..1).
    """
    times = forward.profile(_PASSES)
    total = sum(times.values())
    return [
        {"type": kind, "ms": milliseconds, "share": milliseconds / total}
        for kind, milliseconds in times.most_common(_MOST)
    ]
