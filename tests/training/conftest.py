"""Small runs inside the test's own process, where nothing has to be imported again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from effiseg.config.model import ModelConfig
from effiseg.config.training import TrainConfig


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def uneven_data(colour_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`colour_data` with a different share of every training label ignored, from none to nearly all."""
    folder = tmp_path_factory.mktemp("uneven") / "data"
    shutil.copytree(colour_data.parent, folder)
    for index, path in enumerate(sorted((folder / "labels" / "train").iterdir())):
        label = np.asarray(Image.open(path)).copy()
        label[:, : (11 * index) % 60] = 255
        Image.fromarray(label).save(path)
    return folder / "data.yaml"


@pytest.fixture(scope="session")
def config_for(colour_data: Path) -> Callable[..., TrainConfig]:
    """`config_for(out, **settings)`: two epochs of three steps."""

    def config(out: Path, **settings: Any) -> TrainConfig:
        return TrainConfig(
            **{
                "data": str(colour_data),
                "out": str(out),
                "image_size": "32x64",
                "batch_size": 4,
                "workers": 0,
                "device": "cpu",
                "epochs": 2,
                "init": "scratch",
                "model": ModelConfig(drop_path_rate=0.0, classifier_dropout=0.0),
                **settings,
            }
        )

    return config


@pytest.fixture
def small_config(config_for: Callable[..., TrainConfig], tmp_path: Path) -> Callable[..., TrainConfig]:
    """`small_config("name", **settings)`: `config_for(tmp_path / "name", **settings)`."""
    return lambda name, **settings: config_for(tmp_path / name, **settings)
