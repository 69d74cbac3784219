"""`effiseg pretrain`: pictures in, starting weights and their worth out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from effiseg.cli import main


@pytest.mark.heavy
def test_it_trains_measures_and_says_where_things_lie(
    tmp_path: Path, colour_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "start"
    words = ["--images", "16", "--images_per_epoch", "8", "--image_size", "32x64", "--workers", "0", "--device", "cpu"]
    words += ["--transfer.data", str(colour_data), "--transfer.image_size", "32x64", "--transfer.steps", "2"]
    words += ["--validate_every", "0", "--transfer.scratch", "false", "--data", "shapes"]
    assert main(["pretrain", "--out", str(run), *words]) == 0
    printed = capsys.readouterr().out
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert (settings["recipe"], settings["epochs"], settings["images_per_epoch"]) == ("pretrain", 2, 8)
    assert settings["loss"]["class_weights"] == "none"
    rows = json.loads((run / "transfer.json").read_text())["rows"]
    assert [row["source"] for row in rows] == ["final"]
    assert f"transfer from final: val mIoU {rows[0]['val_miou']:.2f} %" in printed
    assert str(run / "model") in printed


def test_files_have_no_number_of_pictures(
    tmp_path: Path, colour_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "start"
    assert main(["pretrain", "--data", str(colour_data), "--images", "16", "--out", str(run)]) == 2
    error = capsys.readouterr().err
    assert "images_per_epoch is for data that is drawn" in error.splitlines()[-1]
    assert "Traceback" not in error
    assert not run.exists()
