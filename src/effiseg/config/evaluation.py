"""Scoring: every setting of `effiseg evaluate`."""

from __future__ import annotations

from dataclasses import dataclass

from effiseg.config.cluster import ClusterConfig
from effiseg.config.framing import FramingConfig
from effiseg.config.ranges import NOT_NEGATIVE, check_processes, check_ranges
from effiseg.config.training import Protocol
from effiseg.errors import UsageError


@dataclass(kw_only=True)
class EvaluationConfig(FramingConfig, ClusterConfig):
    """Settings of `effiseg evaluate`."""

    model: str | None = None
    """Run folder, model folder, transformers folder, Hub id, or a file that `effiseg export` wrote."""
    predictions: str | None = None
    """Instead of a model: folder of label PNGs named ID.png or ID_*.png, with the values of the data set's masks."""
    data: str
    """Data set: a YAML file, or a preset's name together with --data_root."""
    data_root: str | None = None
    """Folder of the data set; replaces the YAML's `path`."""
    split: str = "val"
    """Split of the data set: train, val or test."""
    protocol: Protocol = "full"
    """full: labels at their original size. quarter: labels reduced to a quarter of the network's input."""
    workers: int | None = None
    """Loader processes; 0: threads of this process. null: 0 for files on the CPU, else 2. With predictions threads;
    null: one a core."""

    def __post_init__(self) -> None:
        FramingConfig.__post_init__(self)
        ClusterConfig.__post_init__(self)
        check_ranges(self, {"workers": NOT_NEGATIVE})
        check_processes(self, "workers")
        if (self.model is None) == (self.predictions is None):
            found = "neither" if self.model is None else "both"
            raise UsageError(f"give either MODEL or --predictions DIR; found {found}")
