"""Commands that need no network wait for no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUN = (
    "import sys; from effiseg.cli import main; code = main(sys.argv[1:]); "
    "assert 'torch' not in sys.modules and 'lightning' not in sys.modules; sys.exit(code)"
)


@pytest.mark.parametrize(
    "words",
    [
        ["data", "check", "DATA"],
        ["data", "stats", "DATA", "--image_size", "32x64"],
        ["data", "convert", "DATA", "--out", "OUT"],
        ["data", "synthesize", "OUT", "--train", "1", "--val", "0", "--size", "32x64"],
        ["push", "MODEL", "me/net", "--dry_run"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_it_runs_without_torch(words: list[str], colour_data: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for name in ("config.json", "model.safetensors"):
        (model / name).write_text("{}")
    places = {"DATA": str(colour_data), "OUT": str(tmp_path / "out"), "MODEL": str(model)}
    filled = [places.get(word, word) for word in words]
    done = subprocess.run([sys.executable, "-c", RUN, *filled], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
