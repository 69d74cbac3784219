"""What all tests share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

Once = Callable[[str, Callable[[Path], object]], Path]
ORACLES = (
    "transformers", "torchmetrics", "monai", "cityscapesscripts",
    "onnx", "onnxruntime", "onnxscript", "openvino", "nncf", "tensorboard", "fastapi", "uvicorn",
    "ray", "webdataset", "moto",
)  # fmt: skip
"""Other people's implementations, and the engines that exported files are compared in."""


def pytest_sessionstart() -> None:
    """Where the oracles are required, the session ends at once when one is not installed."""
    missing = [name for name in ORACLES if find_spec(name) is None]
    if missing and os.environ.get("EFFISEG_REQUIRE_ORACLES"):
        pytest.exit(f"EFFISEG_REQUIRE_ORACLES is set, and {', '.join(missing)} cannot be imported", returncode=1)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Where the oracles are required, a test skipped for want of one fails the session."""
    if not os.environ.get("EFFISEG_REQUIRE_ORACLES"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    assert reporter is not None
    for report in reporter.stats.get("skipped", []):
        reason = str(report.longrepr)
        if any(name in reason for name in ORACLES):
            reporter.write_line(f"a test that needs an oracle was skipped: {reason}", red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what tests cache, also in processes of their own, out of the user's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFFISEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def write_colour_data(folder: Path, counts: dict[str, int], size: tuple[int, int] = (48, 64)) -> Path:
    """A data set a network learns in a few steps: three classes of coloured rectangles, some pixels ignored.

    Returns:
        The data set's YAML file.
    """
    height, width = size
    colours = np.array([[60, 60, 60], [200, 60, 60], [60, 80, 210]], np.uint8)
    for split, count in counts.items():
        for index in range(count):
            generator = np.random.default_rng([sorted(counts).index(split), index])
            label = np.zeros(size, np.uint8)
            for _ in range(4):
                top, left = generator.integers(0, height - 8), generator.integers(0, width - 8)
                tall, wide = generator.integers(8, height // 2), generator.integers(8, width // 2)
                label[top : top + tall, left : left + wide] = generator.integers(0, 3)
            noise = generator.integers(-30, 31, (*size, 3))
            image = np.clip(colours[label].astype(int) + noise, 0, 255).astype(np.uint8)
            label[:2] = 255
            for kind, array in (("images", image), ("labels", label)):
                path = folder / kind / split / f"scene{index:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    lines = [f"{split}: images/{split}" for split in counts]
    (folder / "data.yaml").write_text("\n".join(["path: .", *lines, "names: [grey, red, blue]"]) + "\n")
    return folder / "data.yaml"


@pytest.fixture(scope="session")
def colour_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """YAML file of a small data set with train (14 images), val (3) and test (3)."""
    return write_colour_data(tmp_path_factory.mktemp("colours"), {"train": 14, "val": 3, "test": 3})


def run_effiseg(*words: str | Path, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, on one thread."""
    return subprocess.run(
        [sys.executable, "-m", "effiseg", *map(str, words)],
        capture_output=True, text=True, timeout=timeout, env=one_thread(), check=False,
    )  # fmt: skip


def one_thread() -> dict[str, str]:
    """The environment with one thread, so that sums are added in one order."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def effiseg_command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`effiseg_command("train", …)` runs the command line."""
    return run_effiseg


SMALL = (
    "--image_size",
    "32x64",
    "--batch_size",
    "4",
    "--workers",
    "0",
    "--device",
    "cpu",
    "--init",
    "scratch",
    "--model.drop_path_rate",
    "0.1",
)


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """`once(name, make)`: a folder that `make` filled, once for all processes that share the tests."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder = base / name
        with FileLock(base / f"{name}.lock"):
            if not (base / f"{name}.made").exists():
                shutil.rmtree(folder, ignore_errors=True)  # where another process failed
                folder.mkdir()
                make(folder)
                (base / f"{name}.made").touch()
        return folder

    return made


@pytest.fixture(scope="session")
def teacher_run(colour_data: Path, once: Once) -> Path:
    """A finished run whose model has learnt the colours; good enough to teach."""

    def make(folder: Path) -> None:
        done = run_effiseg(
            "train", "--recipe", "baseline", "--data", colour_data, "--out", folder / "run", *SMALL, "--epochs", "12",
            "--augment", "none", "--optimizer.lr", "2e-3", "--validate_every", "0",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    return once("teacher", make) / "run"


@pytest.fixture(scope="session")
def small_options() -> tuple[str, ...]:
    """Options that make a training run small."""
    return SMALL
