"""What a network is worth as a start elsewhere: short trainings from it, from its snapshots, and from nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from effiseg.config.pretraining import PretrainConfig
from effiseg.config.training import TrainConfig
from effiseg.config.transfer import TransferConfig
from effiseg.errors import DataError, Interrupted, UsageError
from effiseg.models.pretrained import from_pretrained
from effiseg.run_folder import RunFolder
from effiseg.training import transfer
from effiseg.training.trainer import train
from effiseg.training.transfer import measure_transfer


@pytest.fixture(scope="module")
def pretrained(
    config_for: Callable[..., TrainConfig], colour_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunFolder, TrainConfig]:
    """A finished run on drawn pictures that keeps its first epoch, and its settings."""
    drawn = tmp_path_factory.mktemp("drawn") / "drawn.yaml"
    drawn.write_text("drawn: {pictures: shapes, size: 32x64, val: 2}\n")
    settings = TransferConfig(str(colour_data), image_size="32x64", batch_size=7, steps=3)
    config = config_for(
        drawn.parent / "run", data=str(drawn), images_per_epoch=8, keep_epochs=[1], validate_every=0, transfer=settings
    )
    return train(config), config


def test_every_start_is_trained_alike(pretrained: tuple[RunFolder, TrainConfig]) -> None:
    run, config = pretrained
    rows = measure_transfer(run, config)
    assert [(row.source, row.epoch) for row in rows] == [("scratch", 0), ("epoch-0001", 1), ("final", 2)]
    written = json.loads(run.transfer.read_text())
    assert [row["val_miou"] for row in written["rows"]] == [row.val_miou for row in rows]
    assert written["settings"]["epochs"] == 2  # 3 steps of 7 of 14 images, rounded to whole epochs
    runs = [RunFolder(run.path / "transfer" / row.source) for row in rows]
    starts = [json.loads(folder.initialization.read_text())["source"] for folder in runs[1:]]
    assert starts == [str(run.snapshot(1)), str(run.path)]
    assert not runs[0].initialization.exists()


def test_what_is_finished_is_not_repeated(
    pretrained: tuple[RunFolder, TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config = pretrained
    first = measure_transfer(run, config)
    monkeypatch.setattr(transfer, "train", lambda *_: pytest.fail("trained again"))
    assert measure_transfer(run, config) == first


def test_a_snapshot_is_the_network_after_its_epoch(pretrained: tuple[RunFolder, TrainConfig]) -> None:
    run, _ = pretrained
    kept, last = (from_pretrained(folder).state_dict() for folder in (run.snapshot(1), run.model))
    assert any(not torch.equal(kept[name], last[name]) for name in kept)
    assert [path.name for path in run.snapshot(1).parent.iterdir()] == ["epoch-0001"]


def test_a_signal_names_the_run_to_resume(
    pretrained: tuple[RunFolder, TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> None:
        raise Interrupted("stopped at step 1", 2)

    run, config = pretrained
    monkeypatch.setattr(transfer, "train", stopped)
    monkeypatch.setattr(transfer, "resume", stopped)
    with pytest.raises(Interrupted, match=f"--resume {run.path}`") as caught:
        measure_transfer(run, config)
    assert caught.value.exit_code == 130


def test_transfer_needs_val(pretrained: tuple[RunFolder, TrainConfig], colour_data: Path, tmp_path: Path) -> None:
    run, config = pretrained
    text = colour_data.read_text().replace("val: images/val\n", "")
    (tmp_path / "train_only.yaml").write_text(text)
    config.transfer = TransferConfig(str(tmp_path / "train_only.yaml"), str(colour_data.parent))
    with pytest.raises(DataError, match="measured on val"):
        measure_transfer(run, config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "no train split|split|names"),
        ("names: [a, b]\nlabel_mapping: {0: 0, 1: 1}\ntrain: nowhere\nval: nowhere\n", "nowhere"),
    ],
)
def test_what_transfer_cannot_be_measured_on_is_refused_before_the_first_step(
    config_for: Callable[..., TrainConfig], colour_data: Path, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "other.yaml").write_text(text)
    config = config_for(
        tmp_path / "run", data=str(colour_data), transfer=TransferConfig(str(tmp_path / "other.yaml"), steps=3)
    )
    with pytest.raises(DataError, match=message):
        train(config)
    assert not list((tmp_path / "run").rglob("*.yaml"))


@pytest.mark.parametrize(
    ("images", "images_per_epoch", "expected"),
    [(100_000, 2000, (50, 2000)), (500, 2000, (1, 500)), (30, None, (1, 30))],
)
def test_pictures_become_epochs(images: int, images_per_epoch: int | None, expected: tuple[int, int]) -> None:
    config = PretrainConfig(data="shapes", out="run", images=images, images_per_epoch=images_per_epoch).training()
    assert (config.epochs, config.images_per_epoch) == expected
    assert type(config) is TrainConfig


def test_epochs_that_never_come_are_not_kept() -> None:
    with pytest.raises(UsageError, match="1 to 3"):
        TrainConfig(epochs=3, keep_epochs=[4])
    with pytest.raises(UsageError, match="images is a number"):
        PretrainConfig(images=0).training()
