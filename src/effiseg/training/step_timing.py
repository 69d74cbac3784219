"""Where the time of training goes: waiting for data, forward, backward, optimizer, the rest.

A boundary is an instant of the clock on the CPU. On a GPU, which works behind the program's back, it is an event in
its stream: what lies between two events is what the GPU did or waited for there, and nothing waits to read it.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any, Literal, get_args

import torch

Phase = Literal["data", "forward", "backward", "optimizer", "other"]
PHASES: tuple[Phase, ...] = get_args(Phase)
Seconds = dict[Phase, float]
SHARE_COLUMNS = {phase: f"{phase}_share" for phase in PHASES}
"""Names of the shares (0..1 of the time spent training) in metrics.csv."""
TIME_COLUMNS = frozenset({"images_per_second", *SHARE_COLUMNS.values()})
"""Columns of metrics.csv that are measured and differ between equal runs."""
_KEPT = 1024


class StepTiming:
    """Adds up the time between boundaries by phase.

    Boundaries cost less than a microsecond on the CPU, an event each on a GPU, which is waited for only when
    `seconds` is read (and when a thousand boundaries are open, of which it has long passed the older half).

    Args:
        device: where the network computes.
    """

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        self._totals: Seconds = dict.fromkeys(PHASES, 0.0)
        self._spans: list[tuple[Phase, Any, Any]] = []
        self._last = self._now()

    def begin(self) -> None:
        """Start here; what went before (an evaluation, a checkpoint) belongs to no phase."""
        self._last = self._now()

    def end(self, phase: Phase) -> None:
        """Boundary: the time since the last one was `phase`."""
        now = self._now()
        self._spans.append((phase, self._last, now))
        self._last = now
        if len(self._spans) >= _KEPT:
            self._add_up(_KEPT // 2)

    def seconds(self) -> Seconds:
        """Seconds of every phase since this object was made."""
        self._add_up(len(self._spans))
        return dict(self._totals)

    def _add_up(self, count: int) -> None:
        if self.on_gpu and count:
            self._spans[count - 1][2].synchronize()
        for phase, begin, end in self._spans[:count]:
            self._totals[phase] += begin.elapsed_time(end) / 1000 if self.on_gpu else end - begin
        del self._spans[:count]

    def _now(self) -> Any:
        if not self.on_gpu:
            return perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event


def since(before: Seconds, now: Seconds) -> Seconds:
    """Seconds of every phase between two readings."""
    return {phase: now[phase] - before[phase] for phase in PHASES}


def shares(seconds: Seconds) -> dict[str, float]:
    """Columns of metrics.csv: the share of every phase in their sum, 0..1."""
    total = sum(seconds.values())
    return {SHARE_COLUMNS[phase]: seconds[phase] / total if total else 0.0 for phase in PHASES}


def describe_shares(row: dict[str, float | int | None]) -> str:
    """ "data 4 %, forward 38 %, backward 51 %, optimizer 5 %" of a row of metrics.csv; the rest is not named."""
    return ", ".join(f"{phase} {100 * (row[SHARE_COLUMNS[phase]] or 0):.0f} %" for phase in PHASES if phase != "other")
