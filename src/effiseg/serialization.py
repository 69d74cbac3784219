"""Parsed JSON → dataclasses, checked field by field. Torch-free."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar

from effiseg.errors import EffisegError, UsageError

T = TypeVar("T")

_hints_of: Callable[[Any], dict[str, Any]] = cache(typing.get_type_hints)
"""Types of a dataclass's fields; read once, because types that are written as text take long to read."""
_SCALARS: dict[type, str] = {float: "a number", int: "a whole number", str: "a text", bool: "true or false"}


def from_plain(
    hint: type[T], value: Any, source: object, *, error: type[EffisegError] = UsageError, strict: bool = False
) -> T:
    """Parsed JSON as a dataclass, nested ones included.

    Fields are dataclasses, lists, tuples, dicts with text or whole numbers as keys, Literals, numbers, texts, truth
    values, Any, and unions of these in which at most one is no scalar.

    Args:
        hint: the dataclass.
        value: parsed JSON.
        source: the file it came from, for the error's text.
        error: what to raise.
        strict: refuse keys that the dataclass does not know, in place of leaving them out.

    Raises:
        EffisegError: of the kind `error`: a key is missing, unknown, or holds something else.
    """
    return _Reader(source, error, strict).dataclass(hint, value, "")


class _Reader:
    """One reading: its source, the error that it raises, and whether it refuses unknown keys."""

    def __init__(self, source: object, error: type[EffisegError], strict: bool) -> None:
        self.source, self.error, self.strict = source, error, strict

    def dataclass(self, hint: type[T], value: Any, where: str) -> T:
        """A mapping as the dataclass `hint`."""
        if not isinstance(value, Mapping):
            raise self._fault(where, "an object", value)
        hints = _hints_of(hint)
        known = [entry.name for entry in fields(hint)]  # type: ignore[arg-type]
        if self.strict and (unknown := sorted(set(map(str, value)) - set(known))):
            within = f"{where} " if where else ""
            raise self.error(f"{self.source}: {within}knows {', '.join(sorted(known))}; found {', '.join(unknown)}")
        filled: dict[str, Any] = {}
        for entry in fields(hint):  # type: ignore[arg-type]
            place = f"{where}.{entry.name}" if where else entry.name
            if entry.name in value:
                filled[entry.name] = self.checked(hints[entry.name], value[entry.name], place)
            elif entry.default is MISSING and entry.default_factory is MISSING:
                raise self.error(f"{self.source}: the key {place!r} is missing; was it written by effiseg?")
        return hint(**filled)

    def checked(self, hint: Any, value: Any, where: str) -> Any:
        """`value` if it is what the type `hint` says, with dataclasses and tuples built."""
        if hint is Any:
            return value
        if is_dataclass(hint) and isinstance(hint, type):
            return self.dataclass(hint, value, where)
        arguments = typing.get_args(hint)
        match typing.get_origin(hint) or hint:
            case types.UnionType | typing.Union:
                return self._one_of(arguments, value, where)
            case typing.Literal:
                if value in arguments:
                    return value
                raise self._fault(where, " or ".join(map(str, arguments)), value)
            case builtin if builtin is list or builtin is tuple:
                return self._sequence(builtin, arguments, value, where)
            case container if container in (dict, Mapping):
                if not isinstance(value, Mapping):
                    raise self._fault(where, "an object", value)
                key, inner = arguments
                return {self._key(key, k, where): self.checked(inner, v, f"{where}[{k!r}]") for k, v in value.items()}
            case scalar:
                return self._scalar(scalar, value, where)

    def _one_of(self, choices: tuple[Any, ...], value: Any, where: str) -> Any:
        if value is None and type(None) in choices:
            return None
        choices = tuple(choice for choice in choices if choice is not type(None))
        fitting = next((choice for choice in choices if choice in _SCALARS and type(value) is choice), choices[0])
        return self.checked(fitting, value, where)

    def _sequence(self, kind: type, arguments: tuple[Any, ...], value: Any, where: str) -> Any:
        if not isinstance(value, list | tuple):
            raise self._fault(where, "a list", value)
        if kind is tuple and Ellipsis not in arguments:
            if len(value) != len(arguments):
                raise self._fault(where, f"a list of {len(arguments)}", value)
            return tuple(
                self.checked(hint, item, f"{where}[{i}]")
                for i, (hint, item) in enumerate(zip(arguments, value, strict=True))
            )
        return kind(self.checked(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))

    def _key(self, kind: type, key: Any, where: str) -> Any:
        if kind is not int or isinstance(key, int):
            return key
        try:
            return int(key)  # JSON has text keys alone
        except ValueError:
            raise self._fault(where, "an object with whole numbers as keys", key) from None

    def _scalar(self, hint: Any, value: Any, where: str) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if hint is float and number:
            return float(value)
        if isinstance(value, hint) and (number or not isinstance(value, int) or hint is bool):
            return value
        raise self._fault(where, _SCALARS[hint], value)

    def _fault(self, where: str, expected: str, value: Any) -> EffisegError:
        found = repr(value) if len(repr(value)) <= 40 else type(value).__name__
        return self.error(f"{self.source}: {where or 'the top level'} must be {expected}; found {found}")
