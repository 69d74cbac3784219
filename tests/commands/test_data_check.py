from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effiseg.commands.data_check import run
from effiseg.errors import DataError, UsageError


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """Two splits of eight images under names of many kinds."""
    for number, name in enumerate(("Straße nach Süd", "日本", "c", "d", "e", "f", "g", "h")):
        for split in ("train", "val"):
            generator = np.random.default_rng([number, len(split)])
            for kind in ("images", "labels"):
                (tmp_path / kind / split).mkdir(parents=True, exist_ok=True)
            image = generator.integers(0, 256, (8, 9, 3), dtype=np.uint8)
            Image.fromarray(image).save(tmp_path / "images" / split / f"{name}.png")
            mask = np.arange(72, dtype=np.uint8).reshape(8, 9) % 2
            Image.fromarray(mask).save(tmp_path / "labels" / split / f"{name}.png")
    file = tmp_path / "my.yaml"
    file.write_text("train: images/train\nval: images/val\nnames: [road, sky]\n")
    return file


def test_a_clean_data_set_exits_with_0(data_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([str(data_set)]) == 0
    assert "no faults, no warnings" in capsys.readouterr().out


def test_faults_are_grouped_and_counted(data_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for mask in sorted((data_set.parent / "labels" / "train").iterdir())[:7]:
        mask.unlink()
    assert run([str(data_set)]) == 1
    shown = capsys.readouterr().out
    assert "fault: images without a mask (7)" in shown
    assert "… and 2 more (--json lists all)" in shown
    assert shown.rstrip().endswith("7 faults, no warnings")


def test_json_holds_every_finding(data_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for mask in sorted((data_set.parent / "labels" / "train").iterdir())[:7]:
        mask.unlink()
    assert run([str(data_set), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["faults"], report["warnings"], len(report["findings"])) == (7, 0, 7)
    assert report["splits"]["train"] == {"images": 1, "class_pixels": {"road": 36, "sky": 36}}
    assert {finding["kind"] for finding in report["findings"]} == {"missing_mask"}
    assert any("Straße nach Süd" in finding["files"][0] for finding in report["findings"])


def test_warnings_alone_exit_with_0(data_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.full((8, 9), 255, np.uint8)).save(data_set.parent / "labels" / "val" / "c.png")
    assert run([str(data_set)]) == 0
    assert "no faults, 1 warning" in capsys.readouterr().out


def test_what_cannot_be_checked_is_one_line(data_set: Path) -> None:
    data_set.write_text("train: images/train\nnmaes: [road]\n")
    with pytest.raises(DataError, match="did you mean 'names'"):
        run([str(data_set)])
    with pytest.raises(UsageError, match="unknown option '--jsno'"):
        run([str(data_set), "--jsno"])
