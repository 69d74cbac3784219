"""What the README and the documentation say works."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import effiseg
from effiseg.cli import COMMANDS
from effiseg.config.parsing import recipe_names

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def name_of(path: Path) -> str:
    """How a document is called in the tests' names."""
    return path.relative_to(ROOT).as_posix()


def commands(text: str) -> list[str]:
    """Lines of the bash blocks, continuation lines joined."""
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    return [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.mark.heavy
def test_the_first_steps_run(tmp_path: Path) -> None:
    steps = commands((ROOT / "docs" / "start.md").read_text(encoding="utf-8"))[1:]  # the demo has its own tests
    for line in steps:
        words = shlex.split(line)
        assert words[0] == "effiseg"
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert (tmp_path / "val.json").is_file()
    assert (tmp_path / "runs" / "b0" / "model" / "model.safetensors").is_file()
    assert len(list((tmp_path / "labelled" / "labels").rglob("*.png"))) == 4
    assert (tmp_path / "b0.pt2").is_file()


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_documented_commands_and_options_exist(path: Path) -> None:
    helps: dict[str, str] = {}
    for line in commands(path.read_text(encoding="utf-8")):
        words = shlex.split(line.split(" #")[0])
        if words[0].removeprefix(".venv/bin/") != "effiseg":
            continue
        command = next((c for c in COMMANDS if words[1 : 1 + len(c.name.split())] == c.name.split()), None)
        assert command is not None, line
        if command.name not in helps:
            done = subprocess.run(
                [sys.executable, "-m", "effiseg", *command.name.split(), "--help-all"],
                capture_output=True, text=True, check=True, env={"COLUMNS": "400", "PATH": ""},
            )  # fmt: skip
            helps[command.name] = done.stdout
        for word in words:
            if word.startswith("--") and word != "--resume":
                assert re.search(rf"{re.escape(word.split('=')[0])}\b", helps[command.name]), f"{line}: {word}"


def test_every_source_folder_has_its_line() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = [path for path in (ROOT / "src" / "effiseg").iterdir() if (path / "__init__.py").is_file()]
    assert [path.name for path in folders if f"\n  {path.name}/" not in text] == []


def test_every_recipe_is_documented() -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert [name for name in recipe_names() if f"`{name}`" not in text] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_python_in_documents_can_be_read_and_names_what_exists(path: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "effiseg":
                assert hasattr(effiseg, node.attr), f"effiseg.{node.attr}"
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "effiseg":
                module = importlib.import_module(node.module or "")
                assert all(hasattr(module, name.name) for name in node.names), block
