"""The range of a number in the settings."""

from __future__ import annotations

import math
from collections.abc import Mapping

from effiseg.errors import UsageError

Interval = tuple[float, float, bool, bool]
"""Least and greatest value, and whether each of the two is itself allowed."""
NOT_NEGATIVE: Interval = (0, math.inf, True, False)
POSITIVE: Interval = (0, math.inf, False, False)
COUNT: Interval = (1, math.inf, True, False)
SHARE: Interval = (0, 1, True, True)
BELOW_ONE: Interval = (0, 1, True, False)
_MOST_PROCESSES = 256


def check_ranges(settings: object, intervals: Mapping[str, Interval], prefix: str = "") -> None:
    """Refuse numbers outside their interval, nan among them; None stands for a setting that is off.

    Args:
        settings: a dataclass.
        intervals: field → its interval; of a list, that of every number in it.
        prefix: where the dataclass stands in the settings, for the error's text; for example "loss.".

    Raises:
        UsageError: the first field that breaks its interval.
    """
    for name, (least, most, with_least, with_most) in intervals.items():
        value = getattr(settings, name)
        for number in value if isinstance(value, list) else [value]:
            if number is None:
                continue
            above = number >= least if with_least else number > least
            below = number <= most if with_most else number < most
            if not (above and below):
                rule = f"at least {least}" if with_least else f"greater than {least}"
                if math.isinf(most):
                    rule += "" if number != math.inf else " and finite"
                else:
                    rule += f" and at most {most}" if with_most else f" and less than {most}"
                raise UsageError(f"{prefix}{name} must be {rule}; found {value}")


def check_processes(settings: object, *names: str) -> None:
    """Refuse more processes or threads than any machine has use for; the system gives each memory before it works.

    Args:
        settings: a dataclass.
        names: its fields; None stands for a number of ours.

    Raises:
        UsageError: the first field that holds too many.
    """
    for name in names:
        if (getattr(settings, name) or 0) > _MOST_PROCESSES:
            raise UsageError(f"{name} must be at most {_MOST_PROCESSES}; found {getattr(settings, name)}")


def check_length(settings: object, name: str, count: int, what: str, prefix: str = "") -> None:
    """Refuse a list of another length.

    Args:
        settings: a dataclass.
        name: its field.
        count: how many values the field needs.
        what: what they are, for the error's text.
        prefix: as in `check_ranges`.

    Raises:
        UsageError: there are more or fewer.
    """
    values = getattr(settings, name)
    if len(values) != count:
        raise UsageError(f"{prefix}{name} needs {what}; found {len(values)}")
