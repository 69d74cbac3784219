"""What is said once of mask formats."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from effiseg.data.formats import FORMATS

SOURCE = Path(__file__).parents[2] / "src" / "effiseg"


def test_only_the_closed_set_and_the_default_name_a_format() -> None:
    own = {Path(sys.modules[known.__module__].__file__ or "") for known in FORMATS}
    named: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        if path in own:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        formats = imported & {known.__module__ for known in FORMATS}
        compared = {
            side.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Compare) and "masks" in ast.unparse(node)
            for side in ast.walk(node)
            if isinstance(side, ast.Constant) and side.value in {known.name for known in FORMATS}
        }
        if formats or compared:
            named[str(path.relative_to(SOURCE))] = {name.rpartition(".")[2] for name in formats | compared}
    assert named == {
        "data/formats/__init__.py": {known.name for known in FORMATS},
        "data/dataset_spec.py": {"index"},
        "data/file_sample.py": {"index"},
    }


@pytest.mark.heavy
def test_training_does_not_load_what_checks_a_data_set() -> None:
    program = (
        "import sys, effiseg.training.trainer\n"
        "print([name for name in sys.modules if name.endswith(('.similar_images', '.check_pair', '.check'))"
        " and name.startswith('effiseg')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=240)
    assert done.stdout.strip() == "[]"
