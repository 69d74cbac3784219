"""A hook of the site: a page for every command, written from its settings, and one for the recipes."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import MISSING
from importlib import import_module, resources
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from effiseg.commands.table import COMMANDS, Command
from effiseg.config import command_help
from effiseg.config.values import Setting, all_settings

INDEX = "reference/index.md"
"""The page that lists the commands, where it says so, and below which their pages stand in the navigation."""
PLACE = "<!-- commands -->"
"""Where on it."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the commands' pages into the navigation, after the reference's first page."""
    assert config.nav is not None
    reference = next(part["Reference"] for part in config.nav if "Reference" in part)
    pages = [{command.name: page_name(command)} for command in COMMANDS]
    reference.insert(reference.index(INDEX) + 1, {"Commands": pages})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for command in COMMANDS:
        files.append(File.generated(config, page_name(command), content=command_page(command)))
    files.append(File.generated(config, "reference/recipes.md", content=recipes_page()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """List the commands on the reference's first page."""
    if page.file.src_uri != INDEX:
        return markdown
    rows = [f"| [`{each.name}`](commands/{each.name.replace(' ', '-')}.md) | {each.summary} |" for each in COMMANDS]
    return markdown.replace(PLACE, "\n".join(["| command | |", "|---|---|", *rows]))


def page_name(command: Command) -> str:
    """Where the page of a command lies."""
    return f"reference/commands/{command.name.replace(' ', '-')}.md"


def settings_type(command: Command) -> type[Any]:
    """The dataclass of a command's settings: the one that its module reads, not that of a variant of the command."""
    found = [
        value
        for name, value in vars(import_module(command.module)).items()
        if isinstance(value, type) and dataclasses.is_dataclass(value) and name.endswith("Config")
    ]
    public = [each for each in found if not each.__name__.startswith("_")] or found
    assert len(public) == 1, f"{command.module} has {[each.__name__ for each in public]}"
    return public[0]


def command_page(command: Command) -> str:
    """A command's summary, and every setting of it in a table a group."""
    own = settings_type(command)
    groups: dict[type[Any], list[Setting]] = {}
    for setting in all_settings(own).values():
        groups.setdefault(setting.owner if "." in setting.name else own, []).append(setting)
    lines = [f"# effiseg {command.name}", "", command.summary, ""]
    for owner, members in groups.items():
        title = inspect.cleandoc(owner.__doc__ or "").splitlines()[0].rstrip(".")
        lines += [f"## {title}", "", "| setting | default | meaning |", "|---|---|---|"]
        for setting in members:
            sentence = command_help.documentation(setting.owner)[setting.name.rpartition(".")[2]]
            values = command_help.metavar_of(setting.hint).replace(",", ", ")
            cells = [f"`--{setting.name}`<br>`{values}`", _default(setting), sentence.replace("<", "&lt;")]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def recipes_page() -> str:
    """Every recipe that comes with effiseg, as it is."""
    lines = ["# Recipes", "", "The files that `--recipe NAME` reads. What a recipe does not name has its default.", ""]
    for file in sorted((resources.files("effiseg") / "recipes").iterdir(), key=lambda each: each.name):
        if file.name.endswith(".yaml"):
            text = file.read_text(encoding="utf-8").strip()
            lines += [f"## {file.name.removesuffix('.yaml')}", "", "```yaml", text, "```", ""]
    return "\n".join(lines)


def _default(setting: Setting) -> str:
    if setting.default is MISSING:
        return "required"
    return f"`{command_help.default_of(setting).removeprefix('default: ')}`"
