"""What the tables of bad inputs share: good files to go wrong beside, and the rule that every row obeys."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from effiseg.cli import COMMANDS, main
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer

Refused = Callable[..., str]
"""`refused("export {model} --out x.mlmodel", "suffix")` → the line."""


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pairs/ (a data set of three pictures) and model/ (a network of its three classes)."""
    folder = tmp_path_factory.mktemp("good")
    generator = np.random.default_rng(0)
    for split, count in (("train", 2), ("val", 1)):
        for index in range(count):
            for kind, values in (
                ("images", generator.integers(0, 256, (40, 60, 3), dtype=np.uint8)),
                ("labels", generator.integers(0, 3, (40, 60), dtype=np.uint8)),
            ):
                path = folder / "pairs" / kind / split / f"{index:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(values).save(path)
    (folder / "pairs" / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [road, car, sky]\n")
    torch.manual_seed(0)
    model = SegFormer("b0", 3)
    model.metadata = ModelMetadata(names=("road", "car", "sky"), image_size=(32, 64))
    save_pretrained(model, folder / "model")
    return folder


@pytest.fixture
def refused(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that must end with one line, its exit code, and nothing written.

    In its words {data}, {pairs}, {images}, {model} and {good} are good ones, {here} is the folder that the row begins
    in and {out} a place in it where nothing is.
    """
    places = {
        "good": good, "data": good / "pairs" / "data.yaml", "pairs": good / "pairs", "model": good / "model",
        "images": good / "pairs" / "images" / "val", "here": tmp_path, "out": tmp_path / "out",
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)

    def run(words: str, fragment: str, code: int = 2) -> str:
        argv = [word.format(**places) for word in shlex.split(words)]
        before = contents(tmp_path) | contents(good)
        capsys.readouterr()
        found = main([*argv, "--quiet"])
        said = capsys.readouterr()
        assert "Traceback" not in said.err + said.out
        assert said.err.count("\n") == 1, said.err
        assert said.err.startswith(f"effiseg {name_of(argv)}: "), said.err
        assert fragment.format(**places) in said.err
        assert found == code, said.err
        assert contents(tmp_path) | contents(good) == before
        return said.err

    return run


def name_of(argv: list[str]) -> str:
    """The command that the words begin with."""
    return next(each.name for each in COMMANDS if argv[: len(each.name.split())] == each.name.split())


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder below, with its size and the time of its last change."""
    found: dict[str, tuple[int, int]] = {}
    for path, names, files in os.walk(folder):
        for name in names + files:
            state = (Path(path) / name).lstat()
            found[os.path.join(path, name)] = state.st_size, state.st_mtime_ns  # noqa: PTH118 - as it is written
    return found


def row_id(value: object) -> str:
    """A short name of a row for pytest, from its first words."""
    return re.sub(r"[^\w.-]+", " ", str(value)).strip()[-60:]
