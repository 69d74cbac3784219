from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effiseg.commands.data_stats import run
from effiseg.errors import DataError, UsageError


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / kind / split).mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "images" / split / "a.png")
        mask = np.array([[0, 0, 0, 0], [0, 0, 1, 1], [255] * 4, [9] * 4], np.uint8)
        Image.fromarray(mask).save(tmp_path / "labels" / split / "a.png")
    file = tmp_path / "my.yaml"
    file.write_text("train: images/train\nval: images/val\nnames: [road, '[x]', sky]\nlabel_mapping: {0: 0, 1: 1}\n")
    return file


def test_json_is_all_that_stdout_gets(data_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([str(data_set), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["names"] == ["road", "[x]", "sky"]
    train = report["splits"]["train"]
    assert train["labeled_pixels"] == 8
    assert train["shares"] == {"road": 0.75, "[x]": 0.25, "sky": 0.0}
    assert train["images_with"] == {"road": 1, "[x]": 1, "sky": 0}
    assert train["ignored_share"] == 0.5
    assert train["unlisted"] == {"9": 4}
    assert report["class_weights"]["split"] == "train"
    assert set(report["class_weights"]["rules"]) == {"none", "enet", "median_frequency", "inverse"}
    assert report["class_weights"]["rules"]["enet"]["road"] == pytest.approx(1 / np.log(1.10 + 0.75))


def test_the_table_shows_shares_weights_and_what_is_unlisted(
    data_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([str(data_set)]) == 0
    shown = capsys.readouterr().out
    for part in ("road", "[x]", "75.000", f"{1 / np.log(1.85):.3f}", "9 (4 pixels)", "50.000 %"):
        assert part in shown


def test_only_the_splits_asked_for(data_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([str(data_set), "--splits", "val", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report["splits"]) == ["val"]
    assert report["class_weights"]["split"] == "val"
    with pytest.raises(DataError, match="no split 'tset'"):
        run([str(data_set), "--splits", "tset"])


def test_crops_show_what_the_sampler_does(data_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = data_set.parent
    for number in range(9):  # class 1 in a single image of ten
        Image.fromarray(np.zeros((40, 80, 3), np.uint8)).save(folder / "images" / "train" / f"{number}.png")
        Image.fromarray(np.zeros((40, 80), np.uint8)).save(folder / "labels" / "train" / f"{number}.png")
    assert run([str(data_set), "--json", "--image_size", "32x64"]) == 0
    crops = json.loads(capsys.readouterr().out)["crops"]
    assert (crops["number"], crops["image_size"], crops["augment"]) == (1000, [32, 64], "standard")
    for shares in crops["shares"].values():
        assert sum(shares.values()) == pytest.approx(1)
        assert shares["sky"] == 0
    assert crops["shares"]["rare_class"]["[x]"] > 2 * crops["shares"]["uniform"]["[x]"] > 0
    assert run([str(data_set), "--splits", "val", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["crops"] is None
    assert run([str(data_set), "--image_size", "32x64"]) == 0
    assert "1000 training crops of 32x64" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize("argv", [[], ["a.yaml", "b.yaml"], ["a.yaml", "--jsno"]])
def test_a_wrong_command_line_is_one_line(argv: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        run(argv)
    assert "\n" not in str(caught.value)
