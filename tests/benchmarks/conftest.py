"""The scripts of benchmarks/ as modules."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def load_script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """The function that imports a script by its name without suffix."""
    monkeypatch.syspath_prepend(str(_BENCHMARKS))
    return importlib.import_module


@pytest.fixture
def script(request: pytest.FixtureRequest, load_script: Callable[[str], Any]) -> Any:
    """The script that a test file is named after."""
    return load_script(request.path.stem.removeprefix("test_"))
