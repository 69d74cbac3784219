"""Imports point one way, low to high (docs/architecture.md)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "effiseg"
# A name may import itself and whatever stands in an earlier layer; names of one layer never import each other.
LAYERS = [
    {"errors"},
    {"files", "environment", "allocator", "results", "progress"},
    {"config", "scenes"},
    {"data", "models", "losses", "metrics", "visualization"},
    {"distillation", "run_folder"},
    {"inference", "report"},
    {"evaluation", "prediction"},
    {"training", "export", "inspection"},
    {"benchmark"},
    {"comparison"},
    {"runs"},
    {"api"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
# They describe commands, settings, files and results, and must be importable without torch.
TORCH_FREE = {
    "errors",
    "files",
    "allocator",
    "results",
    "progress",
    "config",
    "run_folder",
    "report",
    "cli",
    "__main__",
}
# Whatever draws works from files alone.
REPORT_MAY_IMPORT = {"errors", "files", "results", "run_folder", "visualization"}
HEAVY = {"torch", "lightning", "torchvision", "transformers"}


def layer_of(name: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if name in layer)


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def imported(path: Path) -> list[str]:
    """Absolute dotted names of everything imported anywhere in the file."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            names += [f"{module}.{alias.name}" if module == "effiseg" else module for alias in node.names]
    return names


def component(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    own = component(path)
    for name in imported(path):
        parts = name.split(".")
        if parts[0] != "effiseg" or len(parts) < 2 or parts[1] in (own, "__version__"):
            continue
        assert layer_of(parts[1]) < layer_of(own), f"{own} imports {parts[1]}, which does not stand below it"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_light_modules_import_nothing_heavy(path: Path) -> None:
    if component(path) in TORCH_FREE:
        heavy = HEAVY & {name.split(".")[0] for name in imported(path)}
        assert not heavy, f"{path.name} imports {heavy}"


def test_the_report_reads_files_only() -> None:
    names = {name for path in modules() if component(path) == "report" for name in imported(path)}
    own = {name.split(".")[1] for name in names if name.startswith("effiseg.")}
    assert own <= REPORT_MAY_IMPORT | {"report", "__version__"}


def test_every_component_has_a_layer() -> None:
    names = {component(path) for path in modules()} - {"recipes"}
    assert names == set().union(*LAYERS)


def test_every_folder_is_listed_in_the_architecture() -> None:
    text = (SOURCE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = sorted(path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__")
    assert [name for name in folders if f"{name}/" not in text] == []
