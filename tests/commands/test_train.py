"""`effiseg train`: every mistake of a user's is one line and exit code 2, and leaves no run folder."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from effiseg.cli import main
from effiseg.commands.train import resume_folder
from effiseg.errors import UsageError
from effiseg.files import write_yaml
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import from_pretrained, save_pretrained
from effiseg.models.segformer import SegFormer

NAMES = ("grey", "red", "blue")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set of the test's own, to be broken: four images to train, one to validate."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 1)):
        for index in range(count):
            for kind, array in (
                ("images", generator.integers(0, 256, (40, 48, 3), np.uint8)),
                ("labels", generator.integers(0, 3, (40, 48), np.uint8)),
            ):
                path = tmp_path / "data" / kind / split / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    (tmp_path / "data" / "my.yaml").write_text("train: images/train\nval: images/val\nnames: [grey, red, blue]\n")
    return tmp_path / "data" / "my.yaml"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the models `four` (other classes), `renamed` (as many, others) and `constant` (one answer)."""
    folder = tmp_path_factory.mktemp("models")
    for name, classes in (("four", (*NAMES, "green")), ("renamed", ("a", "b", "c")), ("constant", NAMES)):
        torch.manual_seed(0)
        model = SegFormer("b0", len(classes))
        with torch.no_grad():
            assert model.decode_head.classifier.bias is not None
            model.decode_head.classifier.bias[0] = 1e4
        model.metadata = ModelMetadata(names=classes, image_size=(32, 32))
        save_pretrained(model, folder / name)
    return folder


Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs the command, which must fail; gives the line it printed. `out=None` leaves --out to the words."""
    out = tmp_path / "run"

    def run(*words: object, with_out: bool = True) -> str:
        argv = ["train", "--quiet", *map(str, words), *(("--out", str(out)) if with_out else ())]
        existed = out.exists()
        assert main([*argv, "--device", "cpu"] if with_out else argv) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("effiseg train: ")
        assert printed.err.endswith("\n")
        assert printed.err.count("\n") == 1
        assert out.exists() == existed
        return printed.err

    return run


SMALL = ("--image_size", "32x32", "--batch_size", "4", "--epochs", "1", "--workers", "0")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--data", "nowhere.yaml"], "nowhere.yaml"),
        (["--data", "nowhere/at/all.yaml"], "nowhere/at/all.yaml"),
        (["--data", "camvidd"], "camvidd"),
        (["--data", "camvid"], "--data_root"),
        (["--data", "camvid", "--data_root", "nowhere"], "nowhere"),
        ([], "--data is missing"),
        (["--data", "DATA", "--data_root", "nowhere"], "nowhere"),
        (["--data", "DATA", "--recipe", "basline"], "unknown recipe 'basline'; did you mean 'baseline'?"),
        (["--data", "DATA", "--recipe", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["--data", "DATA", "--config", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["--data", "DATA", "--epohcs", "3"], "did you mean '--epochs'?"),
        (["--data", "DATA", "--loss.nam", "dice"], "did you mean '--loss.name'?"),
        (["--data", "DATA", "--epochs", "many"], "--epochs"),
        (["--data", "DATA", "--optimizer.lr", "-1"], "optimizer.lr must be greater than 0"),
        (["--data", "DATA", "--image_size", "16x64"], "at least 32x32"),
        (["--data", "DATA", "--image_size", "wide"], "HEIGHTxWIDTH"),
        (["--data", "DATA", "--precision", "float16"], "--precision float16 needs a GPU"),
        (["--data", "DATA", "--recipe", "kd"], "recipe kd distils: give --teacher"),
        (["--data", "DATA", "--recipe", "combined"], "give --teacher"),
        (["--data", "DATA", "--teacher", "x"], "recipe baseline has no distillation term"),
        (["--data", "DATA", "--recipe", "kd", "--teacher", "nowhere"], "nowhere: no such folder"),
        (["--data", "DATA", "--recipe", "kd", "--teacher", "DATA"], "is a file"),
        (["--data", "DATA", "--recipe", "kd", "--teacher", "FOLDER"], "holds neither config.json nor"),
        (
            ["--data", "DATA", "--recipe", "kd_logit", "--teacher", "MODELS/four"],
            "MODELS/four: cannot teach on this data",
        ),
        (["--data", "DATA", "--recipe", "kd_logit", "--teacher", "MODELS/renamed"], "MODELS/renamed: cannot teach"),
        (
            ["--data", "DATA", "--recipe", "kd", "--teacher", "MODELS/constant"],
            "no more than always predicting the most frequent class",
        ),
    ],
)
def test_mistakes_in_the_words(words: list[str], found: str, data: Path, models: Path, refused: Refused) -> None:
    def filled(word: str) -> str:
        return word.replace("DATA", str(data)).replace("MODELS", str(models)).replace("FOLDER", str(data.parent))

    # Small sizes first, so that a case's own words come last and win.
    assert filled(found) in refused(*SMALL, *map(filled, words))


def test_an_unknown_key_in_a_file(data: Path, refused: Refused, tmp_path: Path) -> None:
    write_yaml(tmp_path / "own.yaml", {"los": {"name": "dice"}})
    message = refused("--data", data, "--config", tmp_path / "own.yaml")
    assert "own.yaml: unknown key 'los.name'; did you mean 'loss.name'?" in message


def break_mask_missing(folder: Path) -> str:
    (folder / "labels" / "train" / "2.png").unlink()
    return "train/2.png: every image needs a mask"


def break_val_mask_missing(folder: Path) -> str:
    (folder / "labels" / "val" / "0.png").unlink()
    return "val/0.png: every image needs a mask"


def break_mask_value(folder: Path) -> str:
    Image.fromarray(np.full((40, 48), 7, np.uint8)).save(folder / "labels" / "train" / "1.png")
    return "train/1.png: mask values must be classes 0 to 2 or 255 (ignored); found 7 on 1920 pixels"


def break_val_mask_value(folder: Path) -> str:
    Image.fromarray(np.full((40, 48), 7, np.uint8)).save(folder / "labels" / "val" / "0.png")
    return "val/0.png: mask values must be classes"


def break_image(folder: Path) -> str:
    (folder / "images" / "train" / "3.png").write_bytes(b"no image")
    return "train/3.png: not an image"


def break_mask_file(folder: Path) -> str:
    (folder / "labels" / "train" / "3.png").write_bytes(b"no image")
    return "train/3.png: not an image that Pillow can decode"


def break_mask_colours(folder: Path) -> str:
    Image.fromarray(np.zeros((40, 48, 3), np.uint8)).save(folder / "labels" / "train" / "0.png")
    return "train/0.png: a mask holds one integer a pixel"


def break_mask_size(folder: Path) -> str:
    Image.fromarray(np.zeros((48, 40), np.uint8)).save(folder / "labels" / "train" / "0.png")
    return "train/0.png: a mask is as large as its image; found 48x40"


def break_train_split(folder: Path) -> str:
    (folder / "my.yaml").write_text("val: images/val\nnames: [grey, red, blue]\n")
    return "my.yaml: no split 'train'"


def break_yaml(folder: Path) -> str:
    (folder / "my.yaml").write_text("train: [images/train\nnames: [grey]\n")
    return "my.yaml: not valid YAML"


@pytest.mark.parametrize(
    "broken",
    [
        break_mask_missing, break_val_mask_missing, break_mask_value, break_val_mask_value, break_image,
        break_mask_file, break_mask_colours, break_mask_size, break_train_split, break_yaml,
    ],
)  # fmt: skip
def test_mistakes_in_the_data(broken: Callable[[Path], str], data: Path, refused: Refused) -> None:
    found = broken(data.parent)
    assert found in refused("--data", data, *SMALL)


def test_a_foreign_value_behind_the_first_batch_is_found_before_training(data: Path, refused: Refused) -> None:
    found = break_mask_value(data.parent)
    for seed in range(4):  # one image a batch: in most of them the broken mask is not in the first
        assert found in refused("--data", data, *SMALL, "--batch_size", 1, "--seed", seed)


def test_an_existing_folder(data: Path, refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "holiday.jpg").write_bytes(b"x")
    assert "run: exists and is not a run; choose another --out" in refused("--data", data, *SMALL)
    (tmp_path / "run" / "config.yaml").write_text("epochs: 1\n")
    message = refused("--data", data, *SMALL)
    assert f"go on with `effiseg train --resume {tmp_path / 'run'}`" in message
    assert (tmp_path / "run" / "config.yaml").read_text() == "epochs: 1\n"
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["config.yaml", "holiday.jpg"]


def test_without_out_a_mistake_leaves_no_folder(
    data: Path, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "nowhere.yaml" in refused("--data", "nowhere.yaml", with_out=False)
    assert not (tmp_path / "runs").exists()


def test_mistakes_when_resuming(data: Path, refused: Refused, tmp_path: Path) -> None:
    for word in (tmp_path / "nowhere", data.parent, data):
        assert f"{word}: not a run folder" in refused("--resume", word, with_out=False)
    for words in (
        ["--resume"],
        ["--resume", "a", "b"],
        ["--resume", "a", "--epochs", "3"],
        ["--epochs", "3", "--resume=a"],
    ):
        assert "--resume takes one run folder and no other option" in refused(*words, with_out=False)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.yaml").write_text("epohcs: 3\n")
    message = refused("--resume", tmp_path / "old", with_out=False)
    assert "config.yaml: unknown key 'epohcs'; did you mean 'epochs'?" in message


def test_a_run_whose_data_is_gone_is_not_resumed(data: Path, refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    write_yaml(tmp_path / "old" / "config.yaml", {"data": str(tmp_path / "gone.yaml"), "out": "old"})
    assert "gone.yaml" in refused("--resume", tmp_path / "old", with_out=False)


@pytest.mark.parametrize("words", [["--resume", "run"], ["--resume=run"]])
def test_the_folder_to_resume(words: list[str]) -> None:
    assert resume_folder(words) == "run"
    with pytest.raises(UsageError):
        resume_folder([*words, "--seed", "1"])


def test_a_finished_run_is_left_as_it_is(teacher_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def times() -> dict[Path, int]:
        files = [path for path in teacher_run.rglob("*") if path.is_file()]
        return {path: path.stat().st_mtime_ns for path in files if teacher_run / "report" not in path.parents}

    before = times()
    assert main(["train", "--resume", str(teacher_run)]) == 0
    said = capsys.readouterr()
    assert said.err == f"effiseg train: {teacher_run} is finished already; nothing is trained\n"
    lines = said.out.splitlines()
    assert any(line.split()[:1] == ["grey"] for line in lines)  # the class table
    assert any(line.startswith("mIoU ") for line in lines)
    places = {line.split()[0]: line.split()[1] for line in lines if line.startswith(("model:", "report:", "log:"))}
    assert places == {
        "model:": str(teacher_run / "model"),
        "report:": str(teacher_run / "report" / "index.html"),
        "log:": str(teacher_run / "log.txt"),
    }
    parameters = sum(tensor.numel() for tensor in from_pretrained(teacher_run / "model").parameters())
    assert f"{parameters / 1e6:.2f} M parameters, 36 steps in " in said.out
    assert f"effiseg predict {teacher_run} IMAGES" in lines[-2]
    assert times() == before


def test_what_a_run_leaves(teacher_run: Path) -> None:
    everything = {str(path.relative_to(teacher_run)) for path in teacher_run.rglob("*") if path.is_file()}
    assert {"report/index.html", "report/figures/loss.svg", "samples/index.json"} <= everything
    names = {name for name in everything if not name.startswith(("report/", "samples/"))}
    assert {
        "config.yaml", "environment.json", "class_statistics.json", "metrics.csv", "checkpoints/last.ckpt",
        "checkpoints/best.ckpt", "model/config.json", "model/preprocessor_config.json", "model/model.safetensors",
        "model/README.md", "results.json", "validation.json", ".lock", "log.txt", "training-batch.jpg",
    } == names  # fmt: skip
    log = (teacher_run / "log.txt").read_text().splitlines()
    assert [line.split(" · ")[1] for line in log if " · epoch " in line] == [f"epoch {n}/12" for n in range(1, 13)]
    results = json.loads((teacher_run / "results.json").read_text())
    assert (results["epochs"], results["steps"]) == (12, 36)
    header = (teacher_run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"epoch", "lr", "loss", "val_miou"} <= set(header)


@pytest.mark.parametrize("case", ["recipe", pytest.param("mask", marks=pytest.mark.heavy)])
def test_in_a_process_of_its_own(
    case: str, data: Path, tmp_path: Path, effiseg_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    own: dict[str, Any] = {"recipe": ("--recipe", "tahn"), "mask": ()}
    found = break_mask_missing(data.parent) if case == "mask" else "did you mean 'tanh'?"
    done = effiseg_command("train", "--data", data, *SMALL, "--out", tmp_path / "run", *own[case])
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    *before, mistake = done.stderr.splitlines()
    assert all(line.startswith("effiseg train: ") for line in before)
    assert found in mistake
    assert not (tmp_path / "run").exists()
