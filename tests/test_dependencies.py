"""Declarations (pyproject.toml) and pins (constraints.txt) hold together."""

from __future__ import annotations

import ast
import importlib.util
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
# Lightning under its second name.
NOT_DECLARED = {"pytorch-lightning"}
# What the package looks for and does without, has in notebooks, or is measured against: never a dependency.
OPTIONAL_IMPORTS = {"transformers", "IPython"}


def declarations() -> dict[str, Requirement]:
    """Distribution → its requirement, of the product, its extras and its development."""
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = tables["project"]
    groups = [*project["optional-dependencies"].values(), *tables["dependency-groups"].values()]
    found = [Requirement(line) for group in [project["dependencies"], *groups] for line in group]
    return {canonicalize_name(requirement.name): requirement for requirement in found if requirement.name != "effiseg"}


def pins() -> dict[str, str]:
    """Distribution → the version everything is tested with, of those that are not there for others' sake alone."""
    direct, indirect = (ROOT / "constraints.txt").read_text(encoding="utf-8").split("# what these need in turn")
    assert "==" in indirect
    lines = direct.splitlines()
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
        # what is not installed here is called as its distribution, or must be
        name
        for name in foreign
        if not declared & {canonicalize_name(found) for found in distributions.get(name, [name])}
    }
    assert unknown == set()


@pytest.fixture(scope="module")
def check_pins() -> ModuleType:
    """The script that `make lint` runs."""
    spec = importlib.util.spec_from_file_location("check_pins", ROOT / ".ci" / "check_pins.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("lightning==2.6.2", "steals credentials"),
        ("Lightning==2.6.3  # the newest", "steals credentials"),
        ("pytorch_lightning==2.6.3", "GHSA-w37p-236h-pfx3"),
        ("torch==2.9.1", "CVE-2026-24747"),
        ("torch==2.5.1+cpu", "GHSA-53q9-r3pm-6pq6"),
        ("pillow==11.2.1", "CVE-2025-48379"),
        ("PyYAML==5.3.1", "CVE-2020-14343"),
    ],
)
def test_lint_refuses_pins_that_are_known_to_be_bad(check_pins: ModuleType, line: str, reason: str) -> None:
    found = check_pins.bad_pins(f"# pins\n{line}\nnumpy==2.3.5\n")
    assert found
    assert all(each.startswith(f"{line}: ") for each in found)
    assert any(reason in each for each in found)


def test_the_pins_are_not_known_to_be_bad(check_pins: ModuleType) -> None:
    assert check_pins.bad_pins((ROOT / "constraints.txt").read_text(encoding="utf-8")) == []
    assert check_pins.bad_pins("lightning==2.6.1\ntorch==2.10.0\npillow==11.3.0\nlightning>=2\n") == []


def test_every_bad_release_is_one_of_something_pinned_and_has_a_source(check_pins: ModuleType) -> None:
    for known in check_pins.KNOWN_BAD:
        assert known.name in pins()
        assert known.source.startswith("https://")


def test_no_declared_range_admits_a_release_with_malware(check_pins: ModuleType) -> None:
    declared = declarations()
    for known in check_pins.KNOWN_BAD:
        if known.versions.startswith("==") and known.name in declared:
            assert not declared[known.name].specifier.contains(known.versions.removeprefix("=="))
