"""Imports point one way, low to high (docs/architecture.md)."""

from __future__ import annotations

import ast
from itertools import pairwise
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "effiseg"
# A name may import itself and whatever stands in an earlier layer; names of one layer never import each other.
LAYERS = [
    {"errors", "version", "messages", "notebook"},
    {"nested", "plain_yaml", "environment", "allocator", "serialization", "measures", "progress", "lookahead"},
    {"files", "results"},
    {"config"},
    {"scenes"},
    {"data", "models", "losses", "metrics", "visualization"},
    {"engines"},
    {"distillation", "run_folder"},
    {"inference", "report"},
    {"evaluation", "prediction"},
    {"training", "export", "inspection"},
    {"benchmark", "web"},
    {"serving"},
    {"comparison"},
    {"operations"},
    {"runs"},
    {"api"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
# They describe commands, settings, files and results, and must be importable without torch.
TORCH_FREE = {
    "errors",
    "version",
    "messages",
    "notebook",
    "files",
    "plain_yaml",
    "nested",
    "allocator",
    "serialization",
    "measures",
    "results",
    "progress",
    "config",
    "run_folder",
    "report",
    "cli",
    "__main__",
}
# Whatever draws works from files alone.
REPORT_MAY_IMPORT = {
    "config.publishing", "errors", "files", "metrics.bootstrap", "nested", "results", "run_folder", "serialization",
    "visualization",
}  # fmt: skip
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
        if parts[0] != "effiseg" or len(parts) < 2 or parts[1] == own:
            continue
        assert layer_of(parts[1]) < layer_of(own), f"{own} imports {parts[1]}, which does not stand below it"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_light_modules_import_nothing_heavy(path: Path) -> None:
    if component(path) in TORCH_FREE:
        heavy = HEAVY & {name.split(".")[0] for name in imported(path)}
        assert not heavy, f"{path.name} imports {heavy}"


def test_the_report_reads_files_only() -> None:
    names = {name for path in modules() if component(path) == "report" for name in imported(path)}
    own = {name.removeprefix("effiseg.") for name in names if name.startswith("effiseg.")}
    allowed = REPORT_MAY_IMPORT | {"report"}
    assert {name for name in own if not any(f"{name}.".startswith(f"{prefix}.") for prefix in allowed)} == set()


def test_every_component_has_a_layer() -> None:
    names = {component(path) for path in modules()} - {"recipes"}
    assert names == set().union(*LAYERS)


def test_every_folder_is_listed_in_the_architecture() -> None:
    text = (SOURCE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = sorted(path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__")
    assert [name for name in folders if f"{name}/" not in text] == []


def module_name(path: Path) -> str:
    parts = ("effiseg", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph() -> dict[str, set[str]]:
    """Module → the modules it imports anywhere: at the top, in a function, for type checkers only."""
    paths = {module_name(path): path for path in SOURCE.rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for name, path in paths.items():
        wanted: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                wanted |= {found if found in paths else str(node.module) for found in inner}
        graph[name] = wanted & paths.keys() - {name}
    return graph


def import_cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Modules that reach themselves, in groups that reach each other."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        waiting = [start]
        while waiting:
            new = graph[waiting.pop()] - found
            found |= new
            waiting += new
        return found

    reach = {name: reached(name) for name in graph}
    circular = sorted(name for name in graph if name in reach[name])
    groups = {tuple(other for other in circular if other in reach[name] and name in reach[other]) for name in circular}
    return [list(group) for group in sorted(groups)]


def test_no_modules_import_each_other() -> None:
    assert import_cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    assert import_cycles(import_graph()) == []


def test_the_road_to_the_loss_is_one_of_imports() -> None:
    """What docs/architecture.md says a reader opens, one file after the other."""
    text = (SOURCE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    road = text.split("opens six files:\n`")[1].split("`")[0].split(" → ")
    assert len(road) == 6
    modules = [f"effiseg.{file.removesuffix('.py').removesuffix('/…').replace('/', '.')}" for file in road]
    graph = import_graph()
    assert [(a, b) for a, b in pairwise(modules) if b not in graph[a]] == []
