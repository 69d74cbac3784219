"""Advice when training waits for its data."""

from __future__ import annotations

from time import monotonic

from effiseg.config.training import TrainConfig
from effiseg.environment import available_cores
from effiseg.training.step_timing import Seconds, StepTiming, since

WAITING_SHARE = 0.2
"""Share of the time spent waiting for data from which something should be done."""
JUDGED_SECONDS = 30.0
"""Less training than this says nothing."""


class LoaderJudge:
    """Gives advice once per session, when training has waited for data for too large a part of at least half a minute.

    The first step, which waits for the loader to start, does not count; where decoded images are kept, nor does the
    first epoch, which decodes them.

    Args:
        config: the run's settings.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self._before: Seconds | None = None
        self._due = 0.0
        self._is_done = False

    def after_step(self, timing: StepTiming, *, epoch_ends: bool) -> str | None:
        """The advice, or None; to be called after every optimizer step."""
        if self._is_done:
            return None
        now = monotonic()
        if self._before is None:
            if self.config.cache == "off" or epoch_ends:
                self._before, self._due = timing.seconds(), now + JUDGED_SECONDS
            return None
        if now < self._due:
            return None
        self._due = now + JUDGED_SECONDS
        advice = loader_advice(since(self._before, timing.seconds()), self.config, available_cores())
        self._is_done = advice is not None
        return advice


def loader_advice(seconds: Seconds, config: TrainConfig, cores: int) -> str | None:
    """The remedy that fits when the loader is the bottleneck, in one line, or None.

    Args:
        seconds: time of every phase.
        config: the run's settings.
        cores: cores this process may run on.
    """
    total = sum(seconds.values())
    if total < JUDGED_SECONDS or seconds["data"] <= WAITING_SHARE * total:
        return None
    most = cores // config.devices
    workers = f"--workers {most} ({config.workers} now, {cores} cores)" if most > config.workers else None
    exhausted = f"more --workers would not help, this machine's {cores} cores are too few"
    match config.cache, workers:
        case "off", None:
            remedy = f"--cache disk decodes every image once; {exhausted}; smaller source images decode faster"
        case "off", _:
            remedy = f"--cache disk decodes every image once; or take {workers}"
        case _, None:
            remedy = f"{exhausted}; smaller source images or a smaller --image_size need less"
        case _:
            remedy = f"take {workers}"
    return f"{100 * seconds['data'] / total:.0f} % of the time is spent waiting for data: {remedy}"
