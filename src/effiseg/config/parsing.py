"""Dataclasses as command lines and YAML files, by jsonargparse, with errors a user can act on.

Precedence, weakest first: the dataclass's defaults, the recipe, `--config` files in the order given, flags.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, cast

import jsonargparse
import yaml

from effiseg.errors import UsageError
from effiseg.files import read_yaml

Settings = TypeVar("Settings")
Layer = tuple[str, dict[str, Any]]
"""Where settings come from, and the settings, nested."""

jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    return _shipped_names("recipes")


def recipe_settings(recipe: str) -> dict[str, Any]:
    """Settings of a shipped recipe, or of the YAML file `recipe`.

    Raises:
        UsageError: neither a shipped recipe nor a file.
    """
    return _shipped_or_file("recipe", recipe, "recipes")


def _shipped_names(folder: str) -> list[str]:
    entries = (resources.files("effiseg") / folder).iterdir()
    return sorted(entry.name.removesuffix(".yaml") for entry in entries if entry.name.endswith(".yaml"))


def _shipped_or_file(kind: str, name: str, folder: str) -> dict[str, Any]:
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return read_yaml(name)
    if name not in _shipped_names(folder):
        raise UsageError(f"unknown {kind} {name!r}{suggest(name, _shipped_names(folder))} (or give a .yaml file)")
    with resources.as_file(resources.files("effiseg") / folder / f"{name}.yaml") as path:
        return read_yaml(path)


def suggest(wrong: str, known: Iterable[str]) -> str:
    """ "; did you mean …?" with the nearest of `known`, or the list of all when nothing is near."""
    names = list(known)
    near = difflib.get_close_matches(wrong, names, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}"


def flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"loss": {"name": …}} as {"loss.name": …}."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def nest(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as Python has them as nested plain values: {"loss.name": …} as {"loss": {"name": …}}.

    Args:
        settings: values by name or dotted name; mappings and settings dataclasses, paths and tuples among them.
    """
    nested: dict[str, Any] = {}
    for key, value in settings.items():
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = dataclasses.asdict(value)
        if isinstance(value, Mapping):
            value = nest(value)
        elif isinstance(value, os.PathLike):
            value = os.fspath(value)
        elif isinstance(value, tuple):
            value = list(value)
        for name in reversed(key.split(".")):
            value = {name: value}
        nested = merge_settings(nested, value)
    return nested


def field_names(settings_type: type[Any], prefix: str = "") -> list[str]:
    """Dotted names of all settings of a dataclass, nested ones included."""
    names: list[str] = []
    defaults = settings_type()
    for item in dataclasses.fields(settings_type):
        value = getattr(defaults, item.name)
        if dataclasses.is_dataclass(value):
            names += field_names(type(value), f"{prefix}{item.name}.")
        else:
            names.append(f"{prefix}{item.name}")
    return names


def merge_settings(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`, nested mappings merged key by key."""
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge_settings(merged[key], value)
        else:
            merged[key] = value
    return merged


def make_settings(settings_type: type[Settings], *layers: Layer) -> Settings:
    """The dataclass made from layers of settings, later ones first.

    Args:
        settings_type: a dataclass with a default for every field.
        layers: (where it came from, nested settings) pairs.

    Raises:
        UsageError: an unknown key or a value of the wrong type; the layer is named.
    """
    known = field_names(settings_type)
    merged: dict[str, Any] = {}
    for source, settings in layers:
        if isinstance(settings.get("precision"), int):  # YAML reads 32 as a number
            settings = {**settings, "precision": str(settings["precision"])}
        for key in flatten(settings):
            if key not in known:
                raise UsageError(f"{source}: unknown key {key!r}{suggest(key, known)}")
        merged = merge_settings(merged, settings)
    parser = _parser(settings_type, prog="effiseg")
    try:
        return _instantiate(parser, settings_type, parser.parse_object(merged))
    except (jsonargparse.ArgumentError, TypeError) as error:
        raise UsageError(_one_line(error)) from None


def settings_dict(settings: Any) -> dict[str, Any]:
    """The dataclass as nested plain values, ready for YAML."""
    return dataclasses.asdict(settings)


def parse_command(
    settings_type: type[Settings],
    argv: Sequence[str],
    *,
    prog: str,
    description: str,
    with_recipe: bool = False,
) -> Settings:
    """Settings from a command line with `--config FILE` (repeatable) and `--print_config`.

    Args:
        settings_type: dataclass with a default for every field; its field `recipe` names the first layer when
            `with_recipe`.
        argv: the words after the command.
        prog: how the command is called, for its help.
        description: one paragraph for its help.
        with_recipe: whether the settings start from a recipe.

    Raises:
        UsageError: the words cannot be understood; the message names the nearest known option.
        SystemExit: after --help or --print_config.
    """
    layers = parse_layers(settings_type, argv, prog=prog, description=description)
    settings = make_settings(settings_type, *(with_recipe_below(settings_type, layers) if with_recipe else layers))
    if "--print_config" in argv:
        print(yaml.safe_dump(settings_dict(settings), sort_keys=False, allow_unicode=True), end="")
        raise SystemExit(0)
    return settings


def with_recipe_below(settings_type: type[Any], layers: Sequence[Layer]) -> list[Layer]:
    """The layers, on that of the recipe that they name or else of the default one.

    Raises:
        UsageError: there is no such recipe.
    """
    recipes = [settings["recipe"] for _, settings in layers if settings.get("recipe")]
    recipe = str(recipes[-1] if recipes else settings_type().recipe)
    return [(f"recipe {recipe}", recipe_settings(recipe)), *layers, ("recipe", {"recipe": recipe})]


def file_layers(names: Iterable[str]) -> list[Layer]:
    """The layers of `--config`: YAML files of settings, or names of shipped ones.

    Raises:
        UsageError: no such file.
    """
    return [(name, _shipped_or_file("config", name, "recipes/configs")) for name in names]


def parse_layers(settings_type: type[Any], argv: Sequence[str], *, prog: str, description: str) -> list[Layer]:
    """What a command line says and nothing it leaves to defaults: (source, nested settings), weakest first.

    Raises:
        UsageError: as `parse_command`.
        SystemExit: after --help.
    """
    parser = _parser(settings_type, prog=prog, description=description)
    parser.add_argument(
        "--config", action="append", default=[], metavar="FILE",
        help="YAML file of settings, or the name of a shipped one; may be given again, later files win. "
        "Flags always win over files.",
    )  # fmt: skip
    parser.epilog = "--print_config prints the resolved settings and stops."
    flags, files = _flags_only(parser, settings_type, [word for word in argv if word != "--print_config"])
    return [*file_layers(files), ("command line", flags)]


def _parser(settings_type: type[Any], *, prog: str, description: str = "") -> jsonargparse.ArgumentParser:
    parser = jsonargparse.ArgumentParser(prog=prog, description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(settings_type, sub_configs=False)
    return parser


def _flags_only(
    parser: jsonargparse.ArgumentParser, settings_type: type[Any], argv: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    try:
        parsed = parser.parse_args(_bracket_lists(settings_type, argv), defaults=False).as_dict()
    except (jsonargparse.ArgumentError, TypeError) as error:
        message = _one_line(error)
        unknown = re.search(r"[Uu]nrecognized arguments?: (\S+)", message)
        if unknown is not None:
            word = unknown[1].split("=")[0]
            options = [f"--{name}" for name in field_names(settings_type)] + ["--config", "--print_config"]
            hint = suggest(word, options) if word.startswith("-") else "; options start with --"
            near = hint if "did you mean" in hint else f"; see {parser.prog} --help"
            raise UsageError(f"unknown option {word!r}{near}") from None
        raise UsageError(message) from None
    files = parsed.pop("config", None) or []
    known = set(field_names(settings_type))
    return _only(parsed, known), [str(name) for name in files]


def _bracket_lists(settings_type: type[Any], argv: Sequence[str]) -> list[str]:
    """`--seeds 0,1,2` as `--seeds [0,1,2]`, for every setting that is a list."""
    defaults = flatten(dataclasses.asdict(settings_type()))
    lists = {f"--{name}" for name, value in defaults.items() if isinstance(value, list)}
    words: list[str] = []
    for word in argv:
        option, equals, value = word.partition("=")
        if option in lists and equals and not value.startswith("["):
            words.append(f"{option}=[{value}]")
        elif words and words[-1] in lists and not word.startswith(("[", "--")):
            words.append(f"[{word}]")
        else:
            words.append(word)
    return words


def _only(nested: dict[str, Any], known: set[str], prefix: str = "") -> dict[str, Any]:
    """The part of `nested` whose leaves are known settings; drops the empty branches the parser leaves."""
    kept: dict[str, Any] = {}
    for key, value in nested.items():
        if f"{prefix}{key}" in known:
            kept[key] = value
        elif isinstance(value, dict):
            branch = _only(value, known, f"{prefix}{key}.")
            if branch:
                kept[key] = branch
    return kept


def _instantiate(parser: jsonargparse.ArgumentParser, settings_type: type[Settings], parsed: Any) -> Settings:
    made = parser.instantiate(parsed)
    return settings_type(**{item.name: made[item.name] for item in dataclasses.fields(cast(Any, settings_type))})


def _one_line(error: Exception) -> str:
    text = re.sub(r"\s+", " ", str(error)).strip()
    text = re.sub(r"an? typing\.Literal\[([^\]]*)\]", r"one of \1", text)
    text = re.sub(
        r"Unable to load config ['\"](.*?)['\"] - .*", r"must be a mapping, or set its keys; found '\1'", text
    )
    text = re.sub(r"<class '([^']*)'>", r"\1", text)
    text = text.replace("Expected a int", "Expected an int")
    return re.sub(r'Parser key "([^"]+)":', r"--\1:", text)


def read_settings(settings_type: type[Settings], path: str | Path) -> Settings:
    """The dataclass from one YAML file such as a run's config.yaml."""
    return make_settings(settings_type, (str(path), read_yaml(path)))
