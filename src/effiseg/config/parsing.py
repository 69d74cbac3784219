"""Dataclasses as command lines and YAML files, by jsonargparse, with errors a user can act on.

Precedence, weakest first: the dataclass's defaults, the recipe, `--config` files in the order given, flags.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, cast

import jsonargparse

from effiseg.errors import UsageError
from effiseg.files import read_yaml

Settings = TypeVar("Settings")

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
        raise UsageError(
            f"unknown {kind} {name!r}{suggest(name, _shipped_names(folder))} (or give a .yaml file)"
        )
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


def make_settings(settings_type: type[Settings], *layers: tuple[str, dict[str, Any]]) -> Settings:
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
    parser = _parser(settings_type, prog=prog, description=description)
    parser.add_argument(
        "--config", action="append", default=[], metavar="FILE",
        help="YAML file of settings, or the name of a shipped one; may be given again, later files win. "
        "Flags always win over files.",
    )  # fmt: skip
    parser.epilog = "--print_config prints the resolved settings and stops."
    printing = "--print_config" in argv
    flags, files = _flags_only(parser, settings_type, [word for word in argv if word != "--print_config"])
    layers: list[tuple[str, dict[str, Any]]] = []
    file_layers = [(name, _shipped_or_file("config", name, "recipes/configs")) for name in files]
    if with_recipe:
        recipe = cast(
            str, flags.get("recipe") or _last_recipe(file_layers) or cast(Any, settings_type)().recipe
        )
        layers.append((f"recipe {recipe}", recipe_settings(recipe)))
        flags = {**flags, "recipe": recipe}
    layers += [*file_layers, ("command line", flags)]
    settings = make_settings(settings_type, *layers)
    if printing:
        import yaml

        print(yaml.safe_dump(settings_dict(settings), sort_keys=False, allow_unicode=True), end="")
        raise SystemExit(0)
    return settings


def given_flags(settings_type: type[Any], argv: Sequence[str], *, prog: str) -> dict[str, Any]:
    """Only the settings that the command line itself names, nested (no defaults, no files)."""
    return _flags_only(_parser(settings_type, prog=prog), settings_type, argv)[0]


def _last_recipe(layers: list[tuple[str, dict[str, Any]]]) -> str | None:
    return next((str(settings["recipe"]) for _, settings in reversed(layers) if settings.get("recipe")), None)


def _parser(settings_type: type[Any], *, prog: str, description: str = "") -> jsonargparse.ArgumentParser:
    parser = jsonargparse.ArgumentParser(prog=prog, description=description, exit_on_error=False)
    parser.add_class_arguments(settings_type, sub_configs=False)
    return parser


def _flags_only(
    parser: jsonargparse.ArgumentParser, settings_type: type[Any], argv: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    try:
        parsed = parser.parse_args(list(argv), defaults=False).as_dict()
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
    return settings_type(
        **{item.name: made[item.name] for item in dataclasses.fields(cast(Any, settings_type))}
    )


def _one_line(error: Exception) -> str:
    text = re.sub(r"\s+", " ", str(error)).strip()
    text = re.sub(r"an? typing\.Literal\[([^\]]*)\]", r"one of \1", text)
    text = re.sub(r"<class '([^']*)'>", r"\1", text)
    return re.sub(r'Parser key "([^"]+)":', r"--\1:", text)


def read_settings(settings_type: type[Settings], path: str | Path) -> Settings:
    """The dataclass from one YAML file such as a run's config.yaml."""
    return make_settings(settings_type, (str(path), read_yaml(path)))
