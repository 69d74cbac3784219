"""Inspection of norms: every setting of `effiseg inspect-norms`."""

from __future__ import annotations

from dataclasses import dataclass

from effiseg.config.ranges import COUNT, NOT_NEGATIVE, check_ranges
from effiseg.config.training import Device


@dataclass(kw_only=True)
class InspectionConfig:
    """Settings of `effiseg inspect-norms`."""

    model: str
    """Run folder, model folder, transformers folder or Hub id."""
    data: str
    """Data set: a YAML file, or a preset's name together with --data_root."""
    data_root: str | None = None
    """Folder of the data set; replaces the YAML's `path`."""
    split: str = "val"
    """Split of the data set: train, val or test."""
    images: int = 16
    """Images, spread evenly over the split."""
    image_size: tuple[int, int] | None = None
    """Network input; null: the model's own."""
    device: Device = "auto"
    """auto takes a GPU where there is one."""
    seed: int = 0
    """Seed of the sampled elements."""

    def __post_init__(self) -> None:
        check_ranges(self, {"images": COUNT, "seed": NOT_NEGATIVE})
