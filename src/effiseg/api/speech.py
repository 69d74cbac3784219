"""What is said to callers in Python: notices in a function's name, errors with keyword arguments in place of flags."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from effiseg.errors import EffisegError
from effiseg.messages import speaking_as

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
_FLAG = re.compile(r"(?<![\w-])--(?=[a-z])")
_RESUME = re.compile(r"effiseg train --resume (.+)")


def speaks_python(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a function's notices and errors speak of it and of its arguments, not of the command line."""

    @functools.wraps(function)
    def speaking(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with speaking_as(f"effiseg.{function.__name__}"):
            try:
                return function(*args, **kwargs)
            except EffisegError as error:
                error.args = (in_python(str(error)),)
                raise

    return speaking


def in_python(text: str) -> str:
    """A message with `name` for `--name`, and calls for commands where there is one; other commands stay.

    >>> in_python("--image_size: too small; go on with `effiseg train --resume runs/b0`")
    "image_size: too small; go on with `effiseg.resume('runs/b0')`"
    """
    parts = text.split("`")
    for number, part in enumerate(parts):
        if number % 2 == 0:
            parts[number] = _FLAG.sub("", part)
        elif found := _RESUME.fullmatch(part):
            parts[number] = f"effiseg.resume({found[1]!r})"
    return "`".join(parts)
