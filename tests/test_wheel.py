"""The wheel: built, installed without its dependencies into a folder of its own, and used for a first command."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "effiseg"


def run(*words: str | Path, folder: Path, path: Path | None = None) -> str:
    """What a process of this Python printed; with `path` before everything else it imports from."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        env["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the working tree."""
    folder = tmp_path_factory.mktemp("wheel")
    words = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    run(*words, folder=folder)
    (built,) = folder.glob("effiseg-*.whl")
    return built


def test_it_holds_the_whole_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    files = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files - held == set()
    assert {name for name in held if name.endswith("LICENSE") and "dist-info" in name}


def test_it_runs_without_the_clone(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "installed"
    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", place, wheel, folder=tmp_path)
    found = run("-c", "import effiseg; print(effiseg.__file__)", folder=tmp_path, path=place).strip()
    assert Path(found).is_relative_to(place)
    run("-m", "effiseg", "data", "synthesize", "scenes", "--train", "2", "--val", "1", "--size", "32x64",
        folder=tmp_path, path=place)  # fmt: skip
    printed = run("-m", "effiseg", "data", "stats", "cityscapes", "--data_root", "scenes", folder=tmp_path, path=place)
    assert "road" in printed
