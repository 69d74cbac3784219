"""The first training batch as a picture: is the data right?"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from effiseg.files import write_bytes
from effiseg.visualization.label_colours import overlay
from effiseg.visualization.sheet import reduced, tiled

_MOST_IMAGES = 8
_WIDTH = 320


def save_training_batch(file: Path, batch: dict[str, Any], palette: Sequence[Sequence[int]]) -> None:
    """Write images of a batch after augmentation, each beside itself with its mask laid over it, as a JPEG.

    Args:
        file: where.
        batch: `image` (B, 3, H, W) uint8 and `label` (B, H, W) uint8; at most eight of them are shown.
        palette: K RGB colors, 0..255.
    """
    images = batch["image"][:_MOST_IMAGES].permute(0, 2, 3, 1).cpu().numpy()
    labels = batch["label"][:_MOST_IMAGES].cpu().numpy()
    pairs = [
        [reduced(image, _WIDTH), reduced(overlay(image, label, palette, opacity=0.6), _WIDTH)]
        for image, label in zip(images, labels, strict=True)
    ]
    lines = [
        [*left, *right] for left, right in zip(pairs[::2], pairs[1::2], strict=False)
    ] or pairs  # an odd one is left out
    stream = io.BytesIO()
    Image.fromarray(tiled(lines)).save(stream, "JPEG", quality=88)
    write_bytes(file, stream.getvalue())
