"""Nested settings as plain mappings: {"loss": {"name": …}} and its dotted form {"loss.name": …}."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"loss": {"name": …}} as {"loss.name": …}."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
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
        for name in reversed(key.split(".")):
            value = {name: _plain(value)}
        nested = merge_settings(nested, value)
    return nested


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return nest(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def merge_settings(base: dict[str, Any], *over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of each of `over` in turn, nested mappings merged key by key."""
    merged = dict(base)
    for settings in over:
        for key, value in settings.items():
            if isinstance(value, Mapping) and isinstance(merged.get(key), dict):
                merged[key] = merge_settings(merged[key], value)
            else:
                merged[key] = value
    return merged
