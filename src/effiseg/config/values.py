"""The settings of a dataclass, one by one, and plain values from YAML, Python and command lines as their types."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from effiseg.config.data import parse_image_size
from effiseg.errors import UsageError

Settings = TypeVar("Settings")
_WORDS = {"true": True, "false": False}


@dataclass(frozen=True)
class Setting:
    """One field of a settings dataclass, or of one that stands in it."""

    name: str
    """Its name, dotted where it stands in a nested dataclass."""
    hint: Any
    """Its type."""
    default: Any
    """Its default, or MISSING where it must be given."""
    owner: type[Any]
    """The dataclass that it is a field of."""

    @property
    def is_switch(self) -> bool:
        """Whether it is on or off."""
        return self.hint is bool

    @property
    def is_list(self) -> bool:
        """Whether it holds any number of values."""
        return get_origin(self.hint) is list

    @property
    def is_repeated(self) -> bool:
        """Whether it holds one value or a list of several; a command line gives it several times."""
        return _one_or_several(get_args(self.hint))


_READ: dict[tuple[type[Any], str], Mapping[str, Setting]] = {}
"""What `all_settings` has read: types that are written as text take long to read."""


def all_settings(settings_type: type[Any], prefix: str = "") -> Mapping[str, Setting]:
    """Dotted name → setting, nested ones included.

    Args:
        settings_type: a dataclass; a field that holds another dataclass has it as its default factory.
        prefix: where the dataclass stands, for example "loss.".
    """
    if (settings_type, prefix) not in _READ:
        _READ[settings_type, prefix] = MappingProxyType(_read_fields(settings_type, prefix))
    return _READ[settings_type, prefix]


def _read_fields(settings_type: type[Any], prefix: str) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    fields = dataclasses.fields(settings_type)
    nested = {item.name: inner for item in fields if (inner := _nested_type(item)) is not None}
    hints = get_type_hints(settings_type, localns={inner.__name__: inner for inner in nested.values()})
    for item in fields:
        if item.name in nested:
            found |= all_settings(nested[item.name], f"{prefix}{item.name}.")
        else:
            default = item.default if item.default_factory is MISSING else item.default_factory()
            found[prefix + item.name] = Setting(prefix + item.name, hints[item.name], default, settings_type)
    return found


def _nested_type(item: dataclasses.Field[Any]) -> type[Any] | None:
    """The dataclass that a field holds, or None where it holds a value."""
    factory: Any = item.default_factory
    return factory if isinstance(factory, type) and dataclasses.is_dataclass(factory) else None


def build(settings_type: type[Settings], values: Mapping[str, Any], prefix: str = "") -> Settings:
    """The dataclass made from nested plain values; what is not among them has its default.

    Args:
        settings_type: a dataclass.
        values: known keys only.
        prefix: where the dataclass stands, for the error's text.

    Raises:
        UsageError: a value of another type than its field's, or none for a field without a default.
    """
    settings = all_settings(settings_type, prefix)
    made: dict[str, Any] = {}
    for item in dataclasses.fields(settings_type):  # type: ignore[arg-type]
        name, inner = prefix + item.name, _nested_type(item)
        if item.name in values and inner is not None:
            made[item.name] = build(inner, section(values[item.name], name), f"{name}.")
        elif item.name in values:
            made[item.name] = read_value(settings[name].hint, values[item.name], name)
        elif inner is None and settings[name].default is MISSING:
            raise UsageError(f"--{name} is missing")
    return settings_type(**made)


def section(value: Any, name: str) -> Mapping[str, Any]:
    """The value of a nested dataclass.

    Raises:
        UsageError: no mapping.
    """
    if not isinstance(value, Mapping):
        raise UsageError(f"--{name}: must be a mapping, or set its keys; found {value!r}")
    return value


def read_value(hint: Any, value: Any, name: str) -> Any:
    """A plain value, or the text that stands for it on a command line, as the type of the setting `name`.

    Lists are separated by commas, sizes HEIGHTxWIDTH, and null is None. What is one text or a list of several is never
    taken apart.

    Args:
        hint: str, int, float, bool, Path, tuple[int, int] (a size in pixels), a Literal, a list of these, or one of
            them or None; or str | list[str] | None.
        value: from YAML, Python or a command line.
        name: the setting, for the error's text.

    Raises:
        UsageError: it is of another type.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (UnionType, Union):
        if value is None or value == "null":
            return None
        if _one_or_several(arguments):
            return read_value(list[str] if isinstance(value, list | tuple) else str, value, name)
        (inner,) = (argument for argument in arguments if argument is not NoneType)
        return read_value(inner, value, name)
    if origin is Literal:
        if str(value) in arguments:  # YAML reads precision: 32 as a number
            return str(value)
        _refuse(name, "one of " + ", ".join(map(repr, arguments)), value)
    if origin is list:
        if isinstance(value, str):
            value = [item.strip() for item in value.strip().removeprefix("[").removesuffix("]").split(",")]
        if not isinstance(value, list | tuple):
            _refuse(name, "a list", value)
        return [read_value(arguments[0], item, name) for item in value]
    if origin is tuple:
        return parse_image_size("x".join(map(str, value)) if isinstance(value, list | tuple) else value, name)
    return _read_scalar(hint, value, name)


def _one_or_several(alternatives: tuple[Any, ...]) -> bool:
    return {str, list[str]} <= set(alternatives)


def _read_scalar(hint: Any, value: Any, name: str) -> Any:
    if isinstance(value, str) and "\0" in value:  # no system has such a path
        _refuse(name, "a text without null characters", value)
    if hint is bool:
        found = _WORDS.get(value.lower()) if isinstance(value, str) else value
        return found if isinstance(found, bool) else _refuse(name, "true or false", value)
    if hint is int:
        if isinstance(value, str) and re.fullmatch(r"[+-]?\d+", value.strip()):
            return int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) else _refuse(name, "an int", value)
    if hint is float:
        try:
            return _refuse(name, "a float", value) if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            _refuse(name, "a float", value)
    if hint is Path:
        return Path(value) if isinstance(value, str) and value else _refuse(name, "a path", value)
    assert hint is str, f"{name}: settings of type {hint} are not read"
    return value if isinstance(value, str) else _refuse(name, "a str", value)


def _refuse(name: str, expected: str, value: Any) -> NoReturn:
    raise UsageError(f"--{name}: Expected {expected}. Got value: {value}")
