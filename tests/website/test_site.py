"""The documentation's site: its hooks, and that nothing is left out of it. `make docs` builds the whole of it."""

from __future__ import annotations

import base64
import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import effiseg
from effiseg.cli import COMMANDS
from effiseg.config.parsing import recipe_names
from effiseg.config.values import all_settings

pytest.importorskip("mkdocs", reason="the dependency group docs is not installed")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def hooks() -> dict[str, SimpleNamespace]:
    """The hooks by name."""
    return {path.stem: SimpleNamespace(**runpy.run_path(str(path))) for path in (ROOT / "website").glob("*.py")}


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.html", '<script src="https://cdn.example/x.js"></script>', ["https://cdn.example/x.js"]),
        ("a.html", '<link rel="stylesheet" href="//fonts.example/css">', ["//fonts.example/css"]),
        ("a.html", '<img src="http://img.example/a.png">', ["http://img.example/a.png"]),
        ("a.html", "<style>@import 'https://a.example/b.css'; p { background: url(//c.example/d) }</style>", None),
        ("a.html", '<p style="background: url(https://a.example/b.png)">', ["https://a.example/b.png"]),
        ("a.css", "@font-face { src: url('https://fonts.example/f.woff2') }", ["https://fonts.example/f.woff2"]),
        ("a.html", '<a href="https://a.example">a link</a> <img src="b.png"> <link rel="icon" href="data:,">', []),
        ("a.css", "a { background: url(../b.png) }", []),
    ],
)
def test_what_is_loaded_from_elsewhere_is_found(
    hooks: dict[str, SimpleNamespace], name: str, text: str, found: list[str] | None
) -> None:
    expected = ["https://a.example/b.css", "//c.example/d"] if found is None else found
    assert hooks["external"].external_references(name, text) == expected


def test_a_site_that_loads_something_fails(hooks: dict[str, SimpleNamespace], tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text('<script src="https://cdn.example/x.js"></script>', encoding="utf-8")
    with pytest.raises(Exception, match=r"loads https://cdn.example"):
        hooks["external"].on_post_build(SimpleNamespace(site_dir=str(tmp_path)))


def test_formulas_become_mathml(hooks: dict[str, SimpleNamespace]) -> None:
    made = hooks["formulas"].on_page_markdown("With $`x^2`$:\n\n```math\n\\frac{a}{b}\n```\n\n`$x$` stays.")
    assert made.count("<math") == 2
    assert "<mfrac>" in made
    assert "`$x$` stays." in made


def test_every_command_has_a_page_of_its_settings(hooks: dict[str, SimpleNamespace]) -> None:
    for command in COMMANDS:
        page = hooks["commands"].command_page(command)
        for name in all_settings(hooks["commands"].settings_type(command)):
            assert f"`--{name}`" in page, (command.name, name)
    assert [name for name in recipe_names() if f"## {name}\n" not in hooks["commands"].recipes_page()] == []


def test_every_public_name_has_its_place_in_the_reference() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "reference" / "python").glob("*.md"))
    shown = [line.removeprefix("::: ") for line in text.splitlines() if line.startswith("::: ")]
    for name in set(effiseg.__all__) - {"losses", "distillation", "__version__"}:
        value = getattr(effiseg, name)
        assert {f"{value.__module__}.{name}", value.__module__} & set(shown), name
    for module in (effiseg.losses, effiseg.distillation):
        for name in module.__all__:
            assert f"{getattr(module, name).__module__}.{name}" in shown, name


def test_a_notebook_becomes_a_page(hooks: dict[str, SimpleNamespace], tmp_path: Path) -> None:
    picture = base64.b64encode(b"png").decode()
    cells: list[dict[str, Any]] = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Title"},
        {"cell_type": "code", "id": "b", "metadata": {}, "execution_count": 1, "source": "print(1)", "outputs": [
            {"output_type": "stream", "name": "stdout", "text": "10 %\r20 %\n\x1b[1mdone\x1b[0m\n"},
            {"output_type": "display_data", "metadata": {}, "data": {"image/png": picture}},
        ]},
    ]  # fmt: skip
    file = tmp_path / "a.ipynb"
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    file.write_text(json.dumps(notebook), encoding="utf-8")
    text, pictures = hooks["notebooks"].notebook_page(file, "a")
    assert text.startswith("# Title\n\n[Download this notebook](a.ipynb)\n\n```python\nprint(1)\n```")
    assert "```text\n20 %\ndone\n```" in text
    assert pictures == {"a-0.png": b"png"}


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    below_results = {"table.md", "paired.md", "class-iou.md", "norms.md"}
    pages = [
        path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md") if path.name not in below_results
    ]
    pages += [path.relative_to(ROOT / "docs").with_suffix(".md") for path in (ROOT / "docs").rglob("*.ipynb")]
    assert [page.as_posix() for page in pages if page.as_posix() not in navigation] == []
