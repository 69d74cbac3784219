"""Faults of a data set's files: raised, or noted to be told together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from effiseg.errors import DataError


class Fault(NamedTuple):
    """What keeps an image out of a split."""

    rule: Literal["entry", "mask", "pairing"]
    """entry: what the YAML file or a list names is not there. mask: an image has none. pairing: a mask or an id
    belongs to several images."""
    message: str
    """One line."""
    file: str
    """The file concerned."""


@contextmanager
def noting(faults: list[Fault] | None, rule: Literal["entry", "mask", "pairing"], file: object) -> Iterator[None]:
    """Let a DataError pass, or note it where faults are collected."""
    try:
        yield
    except DataError as error:
        if faults is None:
            raise
        faults.append(Fault(rule, str(error), str(file)))
