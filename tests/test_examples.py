"""The scripts in examples/, run as their docstrings say, at a tiny size."""

from __future__ import annotations

import csv
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import effiseg

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = ("--image_size", "32x64", "--batch_size", "4", "--workers", "0", "--epochs", "1")

Script = Callable[..., str]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Script:
    """`script("own_data.py", "--out", …)` runs an example in this process and returns what it printed."""
    monkeypatch.setattr("effiseg.report.figures.style.FORMATS", ("svg",))
    torch.set_num_threads(1)

    def run(name: str, *words: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        capsys.readouterr()
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_every_script_is_tested() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in text] == []


def test_own_data(script: Script, tmp_path: Path) -> None:
    printed = script("own_data.py", "--make", tmp_path / "discs", "--images", "4", "--out", tmp_path / "run", *SMALL)
    assert "background" in printed
    assert effiseg.Run(tmp_path / "run").report is not None
    masks = [np.asarray(Image.open(path)) for path in (tmp_path / "discs" / "labels" / "train").iterdir()]
    assert {*np.unique(masks)} == {0, 1, 2}


@pytest.mark.heavy
def test_distil_own_teacher(script: Script, colour_data: Path, teacher_run: Path, tmp_path: Path) -> None:
    printed = script(
        "distil_own_teacher.py", "--data", colour_data, "--teacher", teacher_run, "--out", tmp_path, *SMALL
    )
    assert [line.split()[0] for line in printed.splitlines()] == ["teacher", "baseline", "distilled"]
    assert effiseg.Run(tmp_path / "student").config.teacher == str(teacher_run)
    assert not (tmp_path / "teacher").exists()


def test_predict_folder(script: Script, colour_data: Path, teacher_run: Path, tmp_path: Path) -> None:
    shutil.copytree(colour_data.parent / "images" / "val", tmp_path / "pictures")
    (tmp_path / "pictures" / "broken.png").write_bytes(b"not a picture")
    printed = script("predict_folder.py", teacher_run, tmp_path / "pictures", "--out", tmp_path / "out")
    assert printed.count("mostly") == 3
    assert "skipped" in printed
    assert len(list((tmp_path / "out").glob("*.jpg"))) == 3
    with (tmp_path / "out" / "areas.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [sum(float(row[name]) for name in ("grey", "red", "blue")) for row in rows] == pytest.approx(
        [1] * 3, abs=1e-3
    )


@pytest.mark.heavy
def test_run_exported_in_an_environment_without_effiseg(colour_data: Path, teacher_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is an extra")
    pytest.importorskip("onnxscript", reason="onnxscript is an extra")
    file, picture, out = tmp_path / "student.onnx", tmp_path / "picture.png", tmp_path / "labels.png"
    effiseg.export_model(teacher_run, file, output="labels")
    source = next((colour_data.parent / "images" / "val").iterdir())
    Image.open(source).resize((64, 32)).save(picture)  # the network's own size, so nothing has to be resized
    packages = tmp_path / "packages"
    packages.mkdir()
    for found in Path(np.__file__).parents[1].iterdir():
        if found.name.split(".")[0] in ("numpy", "onnxruntime", "PIL", "pillow", "google", "flatbuffers", "packaging"):
            (packages / found.name).symlink_to(found)
    alone = {"PYTHONPATH": str(packages), "PATH": ""}
    for name in ("effiseg", "torch", "cv2"):
        done = subprocess.run(
            [sys.executable, "-S", "-c", f"import {name}"], env=alone, capture_output=True, check=False
        )
        assert b"ModuleNotFoundError" in done.stderr
    done = subprocess.run(
        [sys.executable, "-S", EXAMPLES / "run_exported.py", file, picture, out],
        env=alone, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "grey: " in done.stdout
    assert np.array_equal(np.asarray(Image.open(out)), effiseg.Predictor(file)(picture).labels)


def test_custom_loss(script: Script, colour_data: Path, tmp_path: Path) -> None:
    words = ("--data", colour_data, "--out", tmp_path / "run", "--q", "0.5", *SMALL)
    first = script("custom_loss.py", *words)
    assert "mIoU" in first
    assert script("custom_loss.py", *words) == first  # a finished run is left as it is
