"""Metadata of a model: classes, colours, label mapping, normalization, input size."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from effiseg.config.data import InputResize
from effiseg.config.model import LARGEST_STRIDE, LONGEST_SIDE
from effiseg.errors import ModelError
from effiseg.serialization import from_plain

if TYPE_CHECKING:
    from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_MOST_CLASSES = 255
"""Labels are bytes, and one value stays free for what is ignored."""
ONE_LOGIT = (
    "one (a sigmoid's): give the classifier a second row, of zeros for the background above its own, which computes "
    "the same, and name both"
)


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
    resize: InputResize = "keep_ratio"
    """How an image is brought to `image_size`."""

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
        found = "model metadata cannot be read"
        return from_plain(cls, plain, found, error=ModelError, strict=True).checked(found)

    def checked(self, source: object) -> ModelMetadata:
        """The metadata itself, whose values a network can be fed and its answer be read by.

        Args:
            source: where it was read, for the error's text.

        Raises:
            ModelError: the first value that breaks a rule.
        """
        for rule, found in self._faults():
            raise ModelError(f"{source}: {rule}; found {found}")
        return self

    def _faults(self) -> Iterator[tuple[str, str]]:
        """Every rule that a value breaks, and what was found."""
        count = self.num_classes
        if count == 1:
            yield "a model has 2 classes or more", ONE_LOGIT
        if not 2 <= count <= _MOST_CLASSES:
            yield f"a model has 2 to {_MOST_CLASSES} classes", str(count)
        if blank := [index for index, name in enumerate(self.names) if not name.strip()]:
            yield "names must not be empty", f"none for class {blank[0]}"
        if repeated := [name for name, times in Counter(self.names).items() if times > 1]:
            yield "names must differ", f"{', '.join(repeated[:4])} more than once"
        if self.palette is not None and len(self.palette) != count:
            yield f"palette must have a color for each of the {count} classes", str(len(self.palette))
        for colour in self.palette or ():
            if not all(0 <= channel <= 255 for channel in colour):
                yield "palette must hold red, green and blue from 0 to 255", str(list(colour))
        if not count <= self.ignore_index <= 255:
            yield f"ignore_index must be from {count} (the number of classes) to 255", str(self.ignore_index)
        for raw, target in (self.label_mapping or {}).items():
            if not (0 <= target < count or target == self.ignore_index):
                yield f"label_mapping must lead to a class 0 to {count - 1} or to ignore_index", f"{raw}: {target}"
        if not all(map(math.isfinite, self.mean)):
            yield "mean must be finite", str(list(self.mean))
        if not all(math.isfinite(value) and value > 0 for value in self.std):
            yield "std must be greater than 0 and finite", str(list(self.std))
        if self.image_size is not None and not all(LARGEST_STRIDE <= side <= LONGEST_SIDE for side in self.image_size):
            yield f"image_size must have sides from {LARGEST_STRIDE} to {LONGEST_SIDE}", str(list(self.image_size))


def plain_name(name: str) -> str:
    """A class name as names are compared: case, blanks, hyphens and underscores do not matter."""
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
