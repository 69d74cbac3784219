"""Work on several machines: the settings of what runs on a Ray cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from effiseg.config.ranges import COUNT, check_ranges

Place = Literal["here", "ray"]
"""Where work is done: in this process, or by actors of a Ray cluster."""


@dataclass(kw_only=True)
class ClusterConfig:
    """Settings of where pictures are labelled."""

    on: Place = "here"
    """here: in this process. ray: by actors of a Ray cluster (needs effiseg[scale])."""
    ray_address: str | None = None
    """Address of the cluster, or auto; null: one is started on this machine and ended afterwards."""
    ray_actors: int | None = None
    """Actors, each with a copy of the model; null: as many as the cluster has room for."""
    ray_threads: int = 1
    """Cores that an actor takes, and threads that its network runs in."""
    ray_part: int = 256
    """Pictures that an actor takes at a time: what is done again when it dies."""

    def __post_init__(self) -> None:
        check_ranges(self, dict.fromkeys(("ray_actors", "ray_threads", "ray_part"), COUNT))
