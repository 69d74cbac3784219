"""Settings dataclasses from recipes, YAML files, keyword arguments and flags, with errors a user can act on.

Precedence, weakest first: the dataclass's defaults, the recipe, `--config` files in the order given, flags.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args

from effiseg.config.keywords import PathLike
from effiseg.config.values import all_settings, build, section
from effiseg.errors import UsageError
from effiseg.files import read_yaml
from effiseg.messages import say
from effiseg.nested import flatten, merge_settings, nest

Settings = TypeVar("Settings")
Layer = tuple[str, dict[str, Any]]
"""Where settings come from, and the settings, nested."""


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


def field_names(settings_type: type[Any]) -> list[str]:
    """Dotted names of all settings of a dataclass, nested ones included."""
    return list(all_settings(settings_type))


def section_names(settings_type: type[Any]) -> set[str]:
    """Names of the nested dataclasses."""
    return {name.rpartition(".")[0] for name in field_names(settings_type)} - {""}


def renamed(settings_type: type[Any]) -> Mapping[str, str]:
    """Old name → present one of the settings that were renamed; old files and flags are still read."""
    names: Mapping[str, str] = getattr(settings_type, "RENAMED", {})
    return names


def renamed_words(settings_type: type[Any], name: str) -> Mapping[str, str]:
    """Old → present word of a setting whose words were renamed; in old files and flags they are still read."""
    words: Mapping[str, Mapping[str, str]] = getattr(settings_type, "RENAMED_WORDS", {})
    return words.get(name, {})


def make_settings(settings_type: type[Settings], *layers: Layer) -> Settings:
    """The dataclass made from layers of settings, later ones first.

    Args:
        settings_type: a dataclass.
        layers: (where it came from, nested settings) pairs.

    Raises:
        UsageError: an unknown key, a value of the wrong type, or none for a setting that has no default.
    """
    return build(settings_type, merge_settings({}, *(_known_keys(settings_type, *layer) for layer in layers)))


def _known_keys(settings_type: type[Any], source: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """One layer of settings under their present names.

    Raises:
        UsageError: a key that is no setting; the layer is named.
    """
    known, old, sections = field_names(settings_type), renamed(settings_type), section_names(settings_type)
    present = nest({old.get(key, key): value for key, value in settings.items()})
    for key, value in flatten(present).items():
        if key in sections:
            section(value, key)  # refuses: it is no mapping
        if key not in known:
            raise UsageError(f"{source}: unknown key {key!r}{suggest(key, known)}")
    return {name: renamed_words(settings_type, name).get(str(value), value) for name, value in present.items()}


def settings_dict(settings: Any) -> dict[str, Any]:
    """The dataclass as nested plain values, ready for YAML and JSON."""
    return nest(dataclasses.asdict(settings))


def read_settings(settings_type: type[Settings], path: str | Path) -> Settings:
    """The dataclass from one YAML file such as a run's config.yaml."""
    return make_settings(settings_type, (str(path), read_yaml(path)))


def with_recipe_below(settings_type: type[Any], layers: Sequence[Layer]) -> list[Layer]:
    """The layers, on that of the recipe that they name or else of the default one.

    Raises:
        UsageError: there is no such recipe.
    """
    recipes = [settings["recipe"] for _, settings in layers if settings.get("recipe")]
    recipe = str(recipes[-1] if recipes else settings_type.recipe)
    return [(f"recipe {recipe}", recipe_settings(recipe)), *layers, ("recipe", {"recipe": recipe})]


def file_layers(names: Iterable[str]) -> list[Layer]:
    """The layers of `--config`: YAML files of settings, or names of shipped ones.

    Raises:
        UsageError: no such file.
    """
    return [(name, _shipped_or_file("config", name, "recipes/configs")) for name in names]


def keyword_layers(
    settings_type: type[Any],
    function: str,
    given: Mapping[str, Any],
    config: PathLike | Sequence[PathLike] = (),
) -> list[Layer]:
    """The layers of `config`, then the keyword arguments of `function`.

    None is null where a setting can be null, and otherwise leaves the setting as it is.

    Raises:
        UsageError: no such file, or a keyword that is no setting.
    """
    files = [config] if isinstance(config, str | os.PathLike) else list(config)
    for old, name in renamed(settings_type).items():
        if old in given:
            say(f"{function}: {old} is now {name}")
    nullable = {name for name, setting in all_settings(settings_type).items() if NoneType in get_args(setting.hint)}
    left = {*field_names(settings_type), *section_names(settings_type)} - nullable
    kept = {name: value for name, value in flatten(nest(given)).items() if value is not None or name not in left}
    for name, value in kept.items():
        if present := renamed_words(settings_type, name).get(str(value)):
            say(f"{function}: {name} {value} is now {present}")
    return [*file_layers([os.fspath(file) for file in files]), (function, _known_keys(settings_type, function, kept))]


def keyword_settings(settings_type: type[Settings], function: str, given: Mapping[str, Any]) -> Settings:
    """The settings that keyword arguments of `function` say.

    Raises:
        UsageError: a keyword that is no setting, or a value of another type.
    """
    return make_settings(settings_type, *keyword_layers(settings_type, function, given))
