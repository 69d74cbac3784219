"""Declarations (pyproject.toml) and pins (constraints.txt) hold together."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
# Lightning under its second name.
NOT_DECLARED = {"pytorch-lightning"}
# What the package looks for and does without, or is measured against: never a dependency.
OPTIONAL_IMPORTS = {"transformers"}


def declarations() -> dict[str, Requirement]:
    """Distribution → its requirement, of the product, its extras and its development."""
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = tables["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values(), tables["dependency-groups"]["dev"]]
    found = [Requirement(line) for group in groups for line in group]
    return {canonicalize_name(requirement.name): requirement for requirement in found if requirement.name != "effiseg"}


def pins() -> dict[str, str]:
    """Distribution → the version everything is tested with."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def test_every_dependency_is_pinned_and_every_pin_declared() -> None:
    assert set(pins()) - NOT_DECLARED == set(declarations())


def test_every_pin_is_within_its_declaration() -> None:
    found = pins()
    assert [str(wanted) for name, wanted in declarations().items() if not wanted.specifier.contains(found[name])] == []


def test_everything_imported_is_declared() -> None:
    distributions = packages_distributions()
    imported: set[str] = set()
    for path in (ROOT / "src" / "effiseg").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    declared = set(declarations())
    foreign = imported - set(sys.stdlib_module_names) - {"effiseg"} - OPTIONAL_IMPORTS
    unknown = {
        name for name in foreign if not declared & {canonicalize_name(found) for found in distributions.get(name, [])}
    }
    assert unknown == set()
