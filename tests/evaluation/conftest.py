"""A data set of four classes whose images have different sizes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec

SIZES = [(48, 64), (48, 64), (37, 70), (64, 48), (51, 51)]


@pytest.fixture(scope="session")
def small_spec(tmp_path_factory: pytest.TempPathFactory) -> DatasetSpec:
    """Five images of blocks; class 3 (never) is in no label; image 4 has no labelled pixel."""
    root = tmp_path_factory.mktemp("blocks")
    generator = np.random.default_rng(0)
    for index, size in enumerate(SIZES):
        label = np.kron(generator.integers(0, 3, (9, 9)), np.ones((8, 8))).astype(np.uint8)[: size[0], : size[1]]
        label[:3] = 255
        if index == 4:
            label[:] = 255
        image = generator.integers(0, 256, (*size, 3)).astype(np.uint8)
        for kind, array in (("images", image), ("labels", label)):
            path = root / kind / "val" / f"s{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
    (root / "blocks.yaml").write_text("val: images/val\nnames: [a, b, c, never]\n")
    return load_dataset_spec(root / "blocks.yaml")
