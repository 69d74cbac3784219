"""Single values of a data set's YAML file, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard

from effiseg.errors import DataError

Colour = tuple[int, int, int]
"""RGB, 0..255."""


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a YAML value is a whole number; yes and no are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def optional_text(source: Path, values: dict[str, Any], key: str) -> str | None:
    """The text at `key`; None where the key is absent.

    Raises:
        DataError: it is something else, or empty.
    """
    value = values.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        raise DataError(f"{source}: {key} must be text; found {value!r}")
    return value


def colours(source: Path, key: str, value: list[Any]) -> tuple[Colour, ...]:
    """A list of colours.

    Raises:
        DataError: an entry is no list of three numbers from 0 to 255.
    """
    for colour in value:
        if (
            not isinstance(colour, list)
            or len(colour) != 3
            or not all(is_integer(part) and 0 <= part <= 255 for part in colour)
        ):
            raise DataError(f"{source}: a colour of {key} is [red, green, blue] from 0 to 255; found {colour!r}")
    return tuple((colour[0], colour[1], colour[2]) for colour in value)
