"""The text of `--help`: a command's common options in groups, and all of them under `--help-all`."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import yaml

from effiseg.config.values import Setting, all_settings
from effiseg.nested import nest


@dataclass(frozen=True)
class Command:
    """How a command is called, beside its settings."""

    prog: str
    """How it is called."""
    description: str
    """One paragraph for its help."""
    words: tuple[str, ...] = ()
    """Settings that are given without their name, in this order; the last one may be a list."""
    example: str = ""
    """A command line that works."""
    others: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Option that is no setting, as `--resume RUN` → its sentence."""


def common_options(settings_type: type[Any]) -> Mapping[str, tuple[str, ...]]:
    """Title → names of the options that most calls need, in a dataclass that has too many for one screen; else empty.

    Names that are no settings are those of `Command.others`.
    """
    groups: Mapping[str, tuple[str, ...]] = getattr(settings_type, "COMMON", {})
    return groups


def help_text(settings_type: type[Any], command: Command, *, everything: bool = False) -> str:
    """The text of `--help`: settings with the docstrings below their fields, what they take and their defaults.

    Args:
        settings_type: the command's settings.
        command: how it is called.
        everything: all settings, where `common_options` names some; without it those alone.
    """
    settings = all_settings(settings_type)
    common = {} if everything else common_options(settings_type)
    example = f"example:\n  {command.example}" if command.example else None
    parser = argparse.ArgumentParser(
        usage=_usage(settings, command),
        description=textwrap.fill(command.description, 78),
        epilog=example,
        add_help=False,
        formatter_class=_Formatter,
    )
    sentences = {owner: documentation(owner) for owner in {setting.owner for setting in settings.values()}}

    def add(group: argparse._ActionsContainer, setting: Setting) -> None:
        sentence = sentences[setting.owner][setting.name.rpartition(".")[2]]
        if setting.name in command.words:
            group.add_argument(setting.name.upper(), help=sentence.replace("%", "%%"))
        else:
            text = f"{sentence} ({default_of(setting)})".replace("%", "%%")
            group.add_argument(f"--{setting.name}", metavar=metavar_of(setting.hint), help=text)

    for name in command.words:
        add(parser, settings[name])
    others = {flag.split()[0].removeprefix("--"): (flag, text) for flag, text in command.others.items()}
    for title, names in common.items():
        group = parser.add_argument_group(title)
        for name in names:
            if name in settings:
                add(group, settings[name])
            else:
                _add_other(group, *others.pop(name))
    groups: dict[type[Any], argparse._ArgumentGroup] = {}
    for setting in settings.values() if not common else ():
        if setting.name in command.words:
            continue
        owner = setting.owner if "." in setting.name else settings_type
        if owner not in groups:
            groups[owner] = parser.add_argument_group(inspect.cleandoc(owner.__doc__ or "").splitlines()[0].rstrip("."))
        add(groups[owner], setting)
    more = parser.add_argument_group("More")
    for flag, text in others.values():
        _add_other(more, flag, text)
    for flag, text in _MORE.items():
        if flag != "--help-all" or common_options(settings_type):
            _add_other(more, flag, text)
    return parser.format_help()


_MORE = {
    "--config FILE": "YAML file of settings, or the name of a shipped one; may be given again, later files win. "
    "Flags always win over files.",
    "--print_config": "Print the resolved settings and stop.",
    "--quiet": "Print results and errors alone.",
    "-h, --help": "Print this and stop.",
    "--help-all": "Print all options and stop.",
}


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Descriptions and examples as they are written."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=100)


def _usage(settings: Mapping[str, Setting], command: Command) -> str:
    places = [f"{name.upper()}{' …' if settings[name].is_list else ''}" for name in command.words]
    places += [
        f"--{name} {metavar_of(setting.hint)}"
        for name, setting in settings.items()
        if setting.default is MISSING and name not in command.words
    ]
    return " ".join([command.prog, *places, "[options]"])


def _add_other(group: argparse._ActionsContainer, flag: str, text: str) -> None:
    """An option that is no setting: "--config FILE", "-h, --help"."""
    names, _, metavar = flag.partition(" ") if "," not in flag else (flag, "", "")
    help_ = text.replace("%", "%%")
    if metavar:
        group.add_argument(names, metavar=metavar, help=help_)
    else:
        group.add_argument(*names.split(", "), action="store_true", help=help_)


def metavar_of(hint: Any) -> str:
    """The values of a setting, in the words of a command line."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "{" + ",".join(arguments) + "}"
    if origin is list:
        return f"{metavar_of(arguments[0])},…"
    if origin is tuple:
        return "HxW"
    if origin is not None:  # one of these, or null
        return metavar_of(next(inner for inner in arguments if inner is not NoneType))
    return {bool: "[true|false]", int: "N", float: "X", str: "TEXT", Path: "PATH"}[hint]


def default_of(setting: Setting) -> str:
    """The default of a setting, in words: "required", "default: 512x1024"."""
    if setting.default is MISSING:
        return "required"
    if isinstance(setting.default, tuple):
        return "default: " + "x".join(map(str, setting.default))
    text = yaml.safe_dump(nest({"value": setting.default}), default_flow_style=True, allow_unicode=True)
    return "default: " + text.strip()[len("{value: ") : -1]


def documentation(settings_type: type[Any]) -> dict[str, str]:
    """Field → the docstring below it, of the base classes too."""
    found: dict[str, str] = {}
    for owner in reversed(settings_type.__mro__):
        if not dataclasses.is_dataclass(owner):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(definition, ast.ClassDef)
        for statement, below in pairwise(definition.body):
            if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
                continue
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found[statement.target.id] = " ".join(str(below.value.value).split())
    return found
