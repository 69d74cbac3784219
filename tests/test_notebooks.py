"""The notebooks of docs/notebooks, executed at a tiny size in a kernel; their stored outputs stay as they are."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SMALL = {"TRAIN": "4", "VAL": "2", "SIZE": "(32, 64)", "EPOCHS": "1", "RECIPES": '["baseline", "dice_focal"]'}


def shrunk(notebook: Any, folder: Path) -> Any:
    """The notebook with small parameters and its files in `folder`."""
    (cell,) = (each for each in notebook.cells if "parameters" in each.metadata.get("tags", []))
    values = {**SMALL, "FOLDER": repr(str(folder))}
    for line in cell.source.splitlines():
        names = [name.strip() for name in line.split("=")[0].split(",")]
        assert set(names) <= set(values), line
    names = re.findall(r"\b[A-Z]+\b(?=[ ,=])", re.sub(r"=.*", "=", cell.source))
    cell.source = "\n".join(f"{name} = {values[name]}" for name in names)
    return notebook


@pytest.mark.heavy
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    for variable in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / "jupyter"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    kernels = tmp_path / "jupyter" / "kernels" / "python3"
    kernels.mkdir(parents=True)
    words = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {"argv": words, "display_name": "Python 3", "language": "python"}
    (kernels / "kernel.json").write_text(json.dumps(kernel), encoding="utf-8")
    notebook = shrunk(nbformat.read(path, as_version=4), tmp_path / "files")
    NotebookClient(
        notebook, timeout=250, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert path.read_bytes() == before
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        assert r"\u001b" not in json.dumps(output)  # no codes of terminals
        assert output.get("text", "").count("\n") < 200  # and no bar that is printed again and again


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_stored_is_no_error(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert all(output.output_type != "error" and output.get("name") != "stderr" for output in outputs)
