"""The picture of the first training batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from effiseg.training.batch_sheet import save_training_batch

PALETTE = [(255, 0, 0), (0, 0, 255)]


@pytest.mark.parametrize(("images", "size"), [(1, (40, 84)), (3, (40, 172)), (4, (84, 172)), (20, (172, 172))])
def test_images_stand_beside_their_masks(tmp_path: Path, images: int, size: tuple[int, int]) -> None:
    batch = {
        "image": torch.full((images, 3, 40, 40), 100, dtype=torch.uint8),
        "label": torch.full((images, 40, 40), 1, dtype=torch.uint8),
    }
    save_training_batch(tmp_path / "batch.jpg", batch, PALETTE)
    picture = np.asarray(Image.open(tmp_path / "batch.jpg").convert("RGB")).astype(int)
    assert picture.shape[:2] == size
    assert abs(picture[20, 20] - [100, 100, 100]).max() < 8
    assert abs(picture[20, 64] - [40, 40, 193]).max() < 12  # 60 % of the class's color
