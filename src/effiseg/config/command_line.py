"""Command lines of settings dataclasses: `--name VALUE` for every setting, words without a name for a few."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin

import yaml

from effiseg.config.parsing import (
    Layer,
    file_layers,
    make_settings,
    renamed,
    renamed_words,
    section_names,
    settings_dict,
    suggest,
    with_recipe_below,
)
from effiseg.config.values import Setting, all_settings, read_value, section
from effiseg.errors import UsageError
from effiseg.files import parse_yaml
from effiseg.nested import merge_settings, nest

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class _Command:
    """How a command is called, beside its settings; see `parse_command`."""

    prog: str
    description: str
    words: tuple[str, ...]


def parse_command(
    settings_type: type[Settings],
    argv: Sequence[str],
    *,
    prog: str,
    description: str,
    words: tuple[str, ...] = (),
    with_recipe: bool = False,
) -> Settings:
    """Settings from a command line with `--config FILE` (repeatable) and `--print_config`.

    Args:
        settings_type: a dataclass; its field `recipe` names the first layer when `with_recipe`.
        argv: the words after the command.
        prog: how the command is called, for its help.
        description: one paragraph for its help.
        words: settings that are given without their name, in this order; the last one may be a list.
        with_recipe: whether the settings start from a recipe.

    Raises:
        UsageError: the words cannot be understood; the message names the nearest known option.
        SystemExit: after --help or --print_config.
    """
    layers = parse_layers(settings_type, argv, prog=prog, description=description, words=words)
    return resolve(settings_type, layers, argv, with_recipe=with_recipe)


def resolve(
    settings_type: type[Settings], layers: Sequence[Layer], argv: Sequence[str], *, with_recipe: bool = False
) -> Settings:
    """The settings of the layers of a command line, which --print_config prints.

    Raises:
        UsageError: settings that cannot be.
        SystemExit: after --print_config.
    """
    settings = make_settings(settings_type, *(with_recipe_below(settings_type, layers) if with_recipe else layers))
    if "--print_config" in argv:
        print(yaml.safe_dump(settings_dict(settings), sort_keys=False, allow_unicode=True), end="")
        raise SystemExit(0)
    return settings


def parse_layers(
    settings_type: type[Any],
    argv: Sequence[str],
    *,
    prog: str,
    description: str,
    words: tuple[str, ...] = (),
) -> list[Layer]:
    """The settings that a command line names, without defaults: (source, nested settings), weakest first.

    Raises:
        UsageError: as `parse_command`.
        SystemExit: after --help.
    """
    command = _Command(prog, description, words)
    settings = all_settings(settings_type)
    if any(word in ("-h", "--help") for word in argv):
        print(help_text(settings_type, command), end="")
        raise SystemExit(0)
    files: list[str] = []
    flags: dict[str, Any] = {}
    options, loose = _split(settings_type, argv, command)
    given = [*options, *_named(loose, settings, command)]
    names = {name for name, _ in given}
    for name in words:
        if settings[name].default is MISSING and not names & {name, "config"}:
            raise UsageError(f"{name.upper()} is missing (see {prog} --help)")
    for name, value in given:
        if name == "config":
            files.append(value)
        elif name in settings:
            found = read_value(settings[name].hint, value, name)
            if settings[name].is_repeated and (earlier := flags.get(name)) is not None:
                found = [*earlier, found] if isinstance(earlier, list) else [earlier, found]
            flags = merge_settings(flags, nest({name: found}))
        else:
            flags = merge_settings(flags, {name: section(parse_yaml(value, f"--{name}"), name)})
    return [*file_layers(files), ("command line", flags)]


def _split(settings_type: type[Any], argv: Sequence[str], command: _Command) -> tuple[list[tuple[str, str]], list[str]]:
    """The (name, value) pairs of the options, and the words that belong to none."""
    settings, old = all_settings(settings_type), renamed(settings_type)
    options: list[tuple[str, str]] = []
    loose: list[str] = []
    waiting = list(argv)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            return options, loose + waiting
        if word == "--print_config":
            continue
        if not word.startswith("-") or word == "-" or word[1:].isdigit():
            loose.append(word)
            continue
        name, equals, value = word.removeprefix("--").partition("=")
        if name in old:
            print(f"{command.prog}: --{name} is now --{old[name]}", file=sys.stderr)
            name = old[name]
        if not word.startswith("--") or name not in {*settings, *section_names(settings_type), "config"}:
            _refuse_option(word.partition("=")[0], settings, command)
        if not equals:
            switch = name in settings and settings[name].is_switch
            if switch and (not waiting or waiting[0] not in ("true", "false")):
                value = "true"
            elif not waiting or waiting[0].startswith("--"):
                raise UsageError(f"--{name} needs a value (see {command.prog} --help)")
            else:
                value = waiting.pop(0)
        options.append((name, _in_present_words(settings_type, name, value, command)))
    return options, loose


def _in_present_words(settings_type: type[Any], name: str, value: str, command: _Command) -> str:
    """A value, or a list of values, with present words in place of former ones."""
    former = renamed_words(settings_type, name)
    words = [word.strip() for word in value.split(",")] if former else []
    for word in words:
        if word in former:
            print(f"{command.prog}: --{name} {word} is now --{name} {former[word]}", file=sys.stderr)
    return ",".join(former.get(word, word) for word in words) if former else value


def _refuse_option(word: str, settings: dict[str, Setting], command: _Command) -> NoReturn:
    hint = suggest(word, [*(f"--{name}" for name in settings), "--config", "--print_config"])
    near = hint if "did you mean" in hint else f"; see {command.prog} --help"
    raise UsageError(f"unknown option {word!r}{near}")


def _named(loose: list[str], settings: dict[str, Setting], command: _Command) -> list[tuple[str, Any]]:
    """The words without a name as values of the settings that they stand for."""
    waiting = list(loose)
    values: list[tuple[str, Any]] = []
    for name in command.words:
        if settings[name].is_list:
            values += [(name, waiting)] if waiting else []
            waiting = []
        elif waiting:
            values.append((name, waiting.pop(0)))
    if waiting:
        taken = ", ".join(f"one {name.upper()}" for name in command.words) or "options alone, which start with --"
        raise UsageError(f"unknown argument {waiting[0]!r}; {command.prog} takes {taken}")
    return values


def help_text(settings_type: type[Any], command: _Command) -> str:
    """The text of `--help`: every setting with the docstring below its field, what it takes and its default."""
    settings = all_settings(settings_type)
    places = [f"{name.upper()}{' …' if settings[name].is_list else ''}" for name in command.words]
    places += [
        f"--{name} {_metavar(setting.hint)}"
        for name, setting in settings.items()
        if setting.default is MISSING and name not in command.words
    ]
    usage = " ".join([command.prog, *places, "[options]"])
    parser = argparse.ArgumentParser(usage=usage, description=command.description, add_help=False)
    groups: dict[type[Any], argparse._ArgumentGroup] = {}
    sentences = {owner: documentation(owner) for owner in {setting.owner for setting in settings.values()}}
    for setting in settings.values():
        sentence = sentences[setting.owner][setting.name.rpartition(".")[2]].replace("%", "%%")
        if setting.name in command.words:
            parser.add_argument(setting.name.upper(), help=sentence)
            continue
        owner = setting.owner if "." in setting.name else settings_type
        if owner not in groups:
            groups[owner] = parser.add_argument_group(inspect.cleandoc(owner.__doc__ or "").splitlines()[0].rstrip("."))
        groups[owner].add_argument(
            f"--{setting.name}", metavar=_metavar(setting.hint), help=f"{sentence} ({_default(setting)})"
        )
    more = parser.add_argument_group("More")
    more.add_argument(
        "--config", metavar="FILE",
        help="YAML file of settings, or the name of a shipped one; may be given again, later files win. "
        "Flags always win over files.",
    )  # fmt: skip
    more.add_argument("--print_config", action="store_true", help="Print the resolved settings and stop.")
    more.add_argument("-h", "--help", action="store_true", help="Print this and stop.")
    return parser.format_help()


def _metavar(hint: Any) -> str:
    """The values of a setting, in the words of a command line."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "{" + ",".join(arguments) + "}"
    if origin is list:
        return f"{_metavar(arguments[0])},…"
    if origin is tuple:
        return "HxW"
    if origin is not None:  # one of these, or null
        return _metavar(next(inner for inner in arguments if inner is not NoneType))
    return {bool: "[true|false]", int: "N", float: "X", str: "TEXT", Path: "PATH"}[hint]


def _default(setting: Setting) -> str:
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
