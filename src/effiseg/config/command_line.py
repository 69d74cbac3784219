"""Command lines of settings dataclasses: `--name VALUE` for every setting, words without a name for a few."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from effiseg.config.aliases import ALIASES, advice, canonical
from effiseg.config.command_help import Command, help_text
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
from effiseg.messages import say
from effiseg.nested import merge_settings, nest

Settings = TypeVar("Settings")


def parse_command(
    settings_type: type[Settings],
    argv: Sequence[str],
    *,
    prog: str,
    description: str,
    words: tuple[str, ...] = (),
    example: str = "",
    others: Mapping[str, str] | None = None,
    with_recipe: bool = False,
) -> Settings:
    """Settings from a command line with `--config FILE` (repeatable) and `--print_config`.

    Args:
        settings_type: a dataclass; its field `recipe` names the first layer when `with_recipe`.
        argv: the words after the command.
        prog: how the command is called, for its help.
        description: one paragraph for its help.
        words: settings that are given without their name, in this order; the last one may be a list.
        example: a command line that works, for its help.
        others: options that its help lists and that are no settings; the caller reads them.
        with_recipe: whether the settings start from a recipe.

    Raises:
        UsageError: the words cannot be understood; the message names the nearest known option.
        SystemExit: after --help or --print_config.
    """
    command = Command(prog, description, words, example, others or {})
    layers = parse_layers(settings_type, argv, command)
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


def parse_layers(settings_type: type[Any], argv: Sequence[str], command: Command) -> list[Layer]:
    """The settings that a command line names, without defaults: (source, nested settings), weakest first.

    Raises:
        UsageError: as `parse_command`.
        SystemExit: after --help or --help-all.
    """
    settings = all_settings(settings_type)
    everything = any(word in ("--help-all", "--help_all") for word in argv)
    if everything or any(word in ("-h", "--help") for word in argv):
        print(help_text(settings_type, command, everything=everything), end="")
        raise SystemExit(0)
    files: list[str] = []
    flags: dict[str, Any] = {}
    options, loose = _split(settings_type, argv, command)
    given = [*options, *_named(loose, settings, command)]
    names = {name for name, _ in given}
    for name in command.words:
        if settings[name].default is MISSING and not names & {name, "config"}:
            raise UsageError(f"{name.upper()} is missing (see {command.prog} --help)")
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


def _split(settings_type: type[Any], argv: Sequence[str], command: Command) -> tuple[list[tuple[str, str]], list[str]]:
    """The (name, value) pairs of the options, and the words that belong to none."""
    settings, old, sections = all_settings(settings_type), renamed(settings_type), section_names(settings_type)
    known = {*settings, *sections, "config"}
    options: list[tuple[str, str]] = []
    loose: list[str] = []
    waiting = list(argv)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            return options, loose + waiting
        if word in ("--print_config", "--print-config"):
            continue
        _refuse_assignment(word, settings)
        if not word.startswith("-") or word == "-" or word[1:].isdigit():
            loose.append(word)
            continue
        name, equals, value = word.removeprefix("--").partition("=")
        if name in old:
            say(f"{command.prog}: --{name} is now --{old[name]}")
            name = old[name]
        name = canonical(name, known)
        if not word.startswith("--") or name not in known:
            _refuse_option(word.partition("=")[0], settings, command)
        if not equals:
            switch = name in settings and settings[name].is_switch
            if switch and (not waiting or waiting[0] not in ("true", "false")):
                value = "true"
            elif not waiting or waiting[0].startswith("--"):
                raise UsageError(f"--{name} needs a value (see {command.prog} --help)")
            else:
                value = waiting.pop(0)
        if name in sections and ALIASES.get(name) in settings and not value.lstrip().startswith("{"):
            name = ALIASES[name]  # --model b1, where --model '{variant: b1}' is the whole section
        options.append((name, _in_present_words(settings_type, name, value, command)))
    return options, loose


def _in_present_words(settings_type: type[Any], name: str, value: str, command: Command) -> str:
    """A value, or a list of values, with present words in place of former ones."""
    former = renamed_words(settings_type, name)
    words = [word.strip() for word in value.split(",")] if former else []
    for word in words:
        if word in former:
            say(f"{command.prog}: --{name} {word} is now --{name} {former[word]}")
    return ",".join(former.get(word, word) for word in words) if former else value


def _refuse_assignment(word: str, settings: Mapping[str, Setting]) -> None:
    """Refuse `key=value`, the way of other software, with the option that it means here."""
    name, equals, value = word.partition("=")
    if equals and not word.startswith("-") and (option := advice(name, settings)) and not Path(word).exists():
        meant = f"{option} {shlex.quote(value)}" if option.removeprefix("--") in settings else option
        raise UsageError(f"{word!r}: options start with --; write {meant}")


def _refuse_option(word: str, settings: Mapping[str, Setting], command: Command) -> NoReturn:
    if option := advice(word.removeprefix("--"), settings):
        raise UsageError(f"unknown option {word!r}; write {option}")
    hint = suggest(word, [*(f"--{name}" for name in settings), "--config", "--print_config"])
    near = hint if "did you mean" in hint else f"; see {command.prog} --help"
    raise UsageError(f"unknown option {word!r}{near}")


def _named(loose: list[str], settings: Mapping[str, Setting], command: Command) -> list[tuple[str, Any]]:
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
