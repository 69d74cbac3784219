"""Metadata of a model: classes, colours, label mapping, normalization, input size."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from effiseg.config.data import Resize
from effiseg.errors import ModelError
from effiseg.serialization import from_plain

if TYPE_CHECKING:
    from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ModelMetadata:
    """Everything needed to feed a model and to read its answer."""

    names: tuple[str, ...]
    """Class names, in the order of the logits."""
    palette: tuple[tuple[int, int, int], ...] | None = None
    """One RGB colour per class, 0..255; None where none was given."""
    label_mapping: dict[int, int] | None = None
    """Raw mask value to class (or to `ignore_index`) in its training data; None where they are equal."""
    ignore_index: int = 255
    """Label value that counts nowhere."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Mean of red, green, blue on the scale 0..1."""
    std: tuple[float, float, float] = IMAGENET_STD
    """Standard deviation of red, green, blue on the scale 0..1."""
    image_size: tuple[int, int] | None = None
    """(height, width) of the network's input in training; None where unknown."""
    resize: Resize = "keep_ratio"
    """How an image was brought to `image_size`."""

    @classmethod
    def unnamed(cls, num_classes: int) -> ModelMetadata:
        """Metadata of a model whose classes have no names yet: LABEL_0, LABEL_1, …"""
        return cls(names=tuple(f"LABEL_{index}" for index in range(num_classes)))

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return len(self.names)

    def normalize(self, images: Tensor) -> Tensor:
        """(x / 255 - mean) / std, on the images' device.

        Args:
            images: (B, 3, H, W) uint8 RGB.

        Returns:
            (B, 3, H, W) float32 in channels_last memory, the model's input.

        Raises:
            ModelError: the images are not uint8 with three channels.
        """
        import torch

        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ModelError(
                "images to normalize must be uint8 RGB of shape (B, 3, H, W); "
                f"found {str(images.dtype).removeprefix('torch.')} of shape {tuple(images.shape)}"
            )
        mean = torch.tensor(self.mean, dtype=torch.float64)
        std = torch.tensor(self.std, dtype=torch.float64)
        scale = (1 / (255 * std)).float().to(images.device).view(1, 3, 1, 1)
        shift = (-mean / std).float().to(images.device).view(1, 3, 1, 1)
        # One pass that widens, and changes the memory to the layout the model computes in.
        values = images.to(torch.float32, memory_format=torch.channels_last)
        return values.mul_(scale).add_(shift)

    def to_dict(self) -> dict[str, Any]:
        """A mapping that JSON and YAML can hold; `from_dict` reads it back."""
        plain = asdict(self)
        plain["names"] = list(self.names)
        plain["palette"] = None if self.palette is None else [list(colour) for colour in self.palette]
        if self.label_mapping is not None:
            plain["label_mapping"] = {str(raw): value for raw, value in self.label_mapping.items()}
        plain["mean"], plain["std"] = list(self.mean), list(self.std)
        plain["image_size"] = None if self.image_size is None else list(self.image_size)
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ModelMetadata:
        """The metadata `to_dict` wrote; fields left out take their defaults.

        Raises:
            ModelError: an unknown field, or a value of the wrong form.
        """
        return from_plain(cls, plain, "model metadata cannot be read", error=ModelError, strict=True)


def plain_name(name: str) -> str:
    """A class name as names are compared: case, blanks, hyphens and underscores do not matter."""
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
