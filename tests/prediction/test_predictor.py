"""What a predictor takes beside images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from effiseg.errors import UsageError
from effiseg.models.metadata import ModelMetadata
from effiseg.models.segformer import SegFormer
from effiseg.prediction.predictor import Predictor


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    model = SegFormer("b0", 3)
    model.metadata = ModelMetadata(names=("road", "car", "sky"), image_size=(32, 64))
    return Predictor(model, device="cpu", batch_size=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pictures")
    for number in range(3):
        image = np.full((40, 50 + number, 3), 40 * number, np.uint8)
        Image.fromarray(image).save(place / f"{number}.png")
    writer = cv2.VideoWriter(str(place / "drive.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (48, 32))
    for number in range(5):
        writer.write(np.full((32, 48, 3), 30 * number, np.uint8))
    writer.release()
    return place


def test_folders_and_globs_are_lists_in_the_order_of_names(predictor: Predictor, folder: Path) -> None:
    found = predictor(str(folder / "*.png"))
    assert [each.path for each in found] == [folder / f"{number}.png" for number in range(3)]
    assert [each.labels.shape for each in found] == [(40, 50), (40, 51), (40, 52)]
    alone = predictor(folder / "1.png")
    assert np.array_equal(alone.labels, found[1].labels)
    assert len(predictor(folder)) == 3 + 5  # the frames of the video too
    assert len(predictor([folder / "0.png", str(folder / "*.png")])) == 4


def test_a_video_gives_its_frames_one_by_one(predictor: Predictor, folder: Path) -> None:
    video = folder / "drive.avi"
    frames = predictor(video, stream=True)
    assert isinstance(frames, Iterator)
    first = next(frames)
    assert (first.path, first.labels.shape) == (video, (32, 48))
    assert len(list(frames)) == 4
    assert len(predictor(video)) == 5


def test_a_segmentation_is_saved_and_shown(predictor: Predictor, folder: Path, tmp_path: Path) -> None:
    found = predictor(folder / "2.png")
    assert np.array_equal(found.plot(), found.overlay())
    assert np.array_equal(np.asarray(Image.open(found.save(tmp_path / "new" / "o.png"))), found.overlay())
    with pytest.raises(UsageError, match=r"must end as a picture"):
        found.save(tmp_path / "o.xyz")
    assert found._repr_png_().startswith(b"\x89PNG")
    assert len(repr(found)) < 200
    assert "road" in predictor._repr_html_()
