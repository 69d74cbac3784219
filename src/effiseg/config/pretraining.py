"""Settings of `effiseg pretrain`: those of a training run, told in pictures."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from effiseg.config.training import TrainConfig
from effiseg.errors import UsageError


@dataclass
class PretrainConfig(TrainConfig):
    """Settings of a run that makes starting weights."""

    COMMON: ClassVar[dict[str, tuple[str, ...]]] = {
        "Files": ("data", "out", "transfer.data", "transfer.data_root"),
        "Training": ("images", "model.variant", "init", "batch_size", "image_size", "optimizer.lr", "seed"),
        "Machine": ("device", "precision", "workers"),
    }
    recipe: str = "pretrain"
    """Name of the recipe, or a YAML file, whose settings come before all others."""
    images: int | None = None
    """Pictures to see in all, rounded to whole epochs; null: epochs × images_per_epoch."""

    def training(self) -> TrainConfig:
        """The run's settings.

        Raises:
            UsageError: `images` is no number of pictures.
        """
        values = {field.name: getattr(self, field.name) for field in fields(TrainConfig)}
        if self.images is not None:
            if self.images < 1:
                raise UsageError(f"images is a number of pictures from 1 on; found {self.images}")
            an_epoch = min(self.images, self.images_per_epoch or self.images)
            values |= {"images_per_epoch": an_epoch, "epochs": max(1, round(self.images / an_epoch))}
        return TrainConfig(**values)
