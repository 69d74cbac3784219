"""Every exported file beside the model it was made from, on images, before it gets its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from effiseg.config.engine import Precision
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.samples import evenly_spread, list_samples
from effiseg.data.transforms import resize_image
from effiseg.engines.agreement import SAME_NETWORK, Agreement, Tolerance, compare
from effiseg.errors import ModelError
from effiseg.models.segformer import SegFormer

IMAGES = 4
"""Images of every size that is checked."""
Call = Callable[[npt.NDArray[np.uint8]], npt.NDArray[Any]]


TOLERANCES: dict[Precision, Tolerance] = {
    "float32": SAME_NETWORK,
    "float16": Tolerance(2e-2, 0.98),
    "bfloat16": Tolerance(1e-1, 0.95),
    # Quantization is judged by mIoU before and after; this only finds files that compute something else.
    "int8": Tolerance(None, 0.80),
}


@dataclass
class SizeCheck:
    """The check at one input size."""

    image_size: tuple[int, int]
    """(height, width)."""
    images: int
    """Images compared."""
    error: float | None
    """Largest difference of logits over the range of the model's; None for labels."""
    label_agreement: float
    """Share of pixels with the model's label, 0..1, at the input's size."""


@dataclass
class Verification:
    """Differences between the answers of file and model to the same images."""

    images: str
    """Where the images came from."""
    precision: Precision
    """Precision of the file."""
    tolerance: Tolerance
    """The tolerance."""
    sizes: list[SizeCheck] = field(default_factory=list)
    """One entry a size."""

    @property
    def complaint(self) -> str:
        """The breach of the tolerance, or nothing."""
        found = (
            self.tolerance.complaint(
                Agreement(check.error, check.label_agreement), f" at {check.image_size[0]}x{check.image_size[1]}"
            )
            for check in self.sizes
        )
        return next(filter(None, found), "")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; an error that is not finite is null."""
        value = asdict(self)
        for check in value["sizes"]:
            check["image_size"] = list(check["image_size"])
            if check["error"] is not None and not np.isfinite(check["error"]):
                check["error"] = None
        return value


def verify(
    call: Call,
    model: SegFormer,
    sizes: list[tuple[int, int]],
    precision: Precision,
    spec: DatasetSpec | None = None,
    split: str = "val",
) -> Verification:
    """Run a file and the model on the same images.

    Args:
        call: (B, H, W, 3) uint8 to logits or labels; what was exported, loaded by its engine.
        model: what it was made from, on the CPU.
        sizes: (height, width) of the inputs to check.
        precision: of the file: a processor without 16-bit arithmetic computes its 16-bit weights in float32.
        spec: a data set that the images are taken from; None: images are made up.
        split: its split.

    Raises:
        DataError: the data set's images cannot be read.
    """
    source = f"{spec.name} {split}" if spec is not None else "made up: smooth, and noise"
    result = Verification(source, precision, TOLERANCES[precision])
    for size in sizes:
        images = made_up_images(size) if spec is None else real_images(spec, split, size)
        with torch.inference_mode():
            pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
            reference = model(model.metadata.normalize(pixels)).contiguous().numpy()
        found = compare(call(images), reference, size)
        result.sizes.append(SizeCheck(size, len(images), found.error, found.labels))
    return result


def check_verification(verification: Verification, name: object) -> None:
    """Refuse a file that does not compute what the model does.

    Raises:
        ModelError: by how much it differs.
    """
    if verification.complaint:
        raise ModelError(
            f"{name}: not written, because the exported network is not the model: {verification.complaint} "
            f"in {verification.precision}"
        )


def real_images(spec: DatasetSpec, split: str, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """`IMAGES` images (B, H, W, 3) uint8 RGB, spread evenly over the split and stretched to `size`."""
    chosen = evenly_spread(list_samples(spec, split), IMAGES)
    return np.stack([resize_image(sample.read_image(), size) for sample in chosen])


def made_up_images(size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """`IMAGES` images (B, H, W, 3) uint8 RGB, always the same: coarse patterns enlarged, the last one noise."""
    generator = np.random.default_rng(0)
    height, width = size
    smooth = [
        cv2.resize(
            generator.integers(0, 256, (4 * count, 6 * count, 3)).astype(np.float32), (width, height),
            interpolation=cv2.INTER_LINEAR,
        )
        for count in range(1, IMAGES)
    ]  # fmt: skip
    images = np.stack([*smooth, generator.integers(0, 256, (height, width, 3))])
    return images.clip(0, 255).astype(np.uint8)
