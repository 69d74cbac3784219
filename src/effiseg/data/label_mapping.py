"""From raw values of masks to classes, as a data set's YAML file says it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from effiseg.data.classes import IGNORE_LABEL
from effiseg.data.yaml_values import is_integer
from effiseg.errors import DataError

_LARGEST_RAW = 2**63 - 1  # ids of COCO may be as large; masks hold 32 bits


def parse_label_mapping(
    source: Path, values: dict[str, Any], num_classes: int, ignore_index: int
) -> dict[int, int] | None:
    """The label_mapping of a YAML file: raw value → class or ignore_index; None where there is none.

    Args:
        source: the YAML file, for errors.
        values: its content.
        num_classes: the classes are 0 to this.
        ignore_index: what ignore_label stands for.

    Raises:
        DataError: a key is no value or range, or leads to no class.
    """
    value = values.get("label_mapping")
    if value is None:
        return None
    if not isinstance(value, dict) or not value:
        raise DataError(f"{source}: label_mapping must be {{raw value: class, …}}; found {value!r}")
    mapping: dict[int, int] = {}
    for written, target in value.items():
        raws = _whole_numbers(written)
        labels = [ignore_index] * len(raws) if target == IGNORE_LABEL else _whole_numbers(target)
        if not raws:
            raise DataError(f"{source}: label_mapping maps integer mask values or ranges; found the key {written!r}")
        if abs(raws[0]) > _LARGEST_RAW:
            raise DataError(f"{source}: label_mapping maps values of 64 bits; found the key {str(written)[:40]}")
        if len(raws) != len(labels) or not all(0 <= label < num_classes or label == ignore_index for label in labels):
            raise DataError(
                f"{source}: label_mapping must lead to a class 0 to {num_classes - 1} or to {IGNORE_LABEL}; "
                f"found {written}: {target}{' (a range leads to one as long)' if len(raws) != 1 else ''}"
            )
        twice = [raw for raw in raws if raw in mapping]
        if twice:
            raise DataError(f"{source}: label_mapping may list a value once; found {twice[0]} again in {written!r}")
        mapping.update(zip(raws, labels, strict=True))
    return mapping


def _whole_numbers(value: object) -> range | list[int]:
    """7 → [7], "1-150" → range(1, 151); empty for anything else."""
    if is_integer(value):
        return [int(str(value))]
    found = re.fullmatch(r"([0-9]{1,6})-([0-9]{1,6})", value) if isinstance(value, str) else None
    return range(int(found[1]), int(found[2]) + 1) if found else []
