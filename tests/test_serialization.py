"""Parsed JSON as dataclasses: every kind of field, and every fault by its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from effiseg.errors import ModelError, UsageError
from effiseg.serialization import from_plain


@dataclass(frozen=True)
class Inner:
    ratio: float


@dataclass(frozen=True)
class Outer:
    inner: Inner
    kind: Literal["a", "b"] = "a"
    size: tuple[int, int] | None = None
    colours: tuple[tuple[int, int, int], ...] = ()
    rows: list[dict[str, float | int | None]] = field(default_factory=list)
    mapping: dict[int, int] | None = None
    words: Mapping[str, str] | None = None
    done: bool = False
    free: Any = None


FULL = {
    "inner": {"ratio": 1}, "kind": "b", "size": [3, 4], "colours": [[1, 2, 3], [4, 5, 6]],
    "rows": [{"epoch": 1, "loss": 0.5, "miou": None}], "mapping": {"7": 0}, "words": {"torch": "2"}, "done": True,
    "free": [1, {"x": 2}],
}  # fmt: skip


def test_every_kind_of_field_is_read() -> None:
    found = from_plain(Outer, FULL, "f.json")
    assert found == Outer(
        Inner(1.0), "b", (3, 4), ((1, 2, 3), (4, 5, 6)), [{"epoch": 1, "loss": 0.5, "miou": None}], {7: 0},
        {"torch": "2"}, True, [1, {"x": 2}],
    )  # fmt: skip
    assert isinstance(found.rows[0]["epoch"], int)
    assert isinstance(found.inner.ratio, float)
    assert from_plain(Outer, {"inner": {"ratio": 0.5}}, "f.json") == Outer(Inner(0.5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inner": None}, "inner must be an object; found None"),
        ({"inner": {}}, "the key 'inner.ratio' is missing; was it written by effiseg?"),
        ({"kind": "c"}, "kind must be a or b; found 'c'"),
        ({"kind": ["a"]}, "kind must be a or b; found ['a']"),
        ({"size": [1]}, "size must be a list of 2; found [1]"),
        ({"size": [1, "2"]}, "size[1] must be a whole number; found '2'"),
        ({"colours": [[1, 2]]}, "colours[0] must be a list of 3; found [1, 2]"),
        ({"rows": [{"loss": "x"}]}, "rows[0]['loss'] must be a number; found 'x'"),
        ({"mapping": {"a": 1}}, "mapping must be an object with whole numbers as keys; found 'a'"),
        ({"words": {"a": 1}}, "words['a'] must be a text; found 1"),
        ({"done": 1}, "done must be true or false; found 1"),
        ({"size": "x" * 50}, "size must be a list; found str"),
    ],
)
def test_a_fault_is_named_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_plain(Outer, FULL | change, "f.json")
    assert str(caught.value) == f"f.json: {message}"


def test_unknown_keys_are_left_out_or_refused() -> None:
    assert from_plain(Inner, {"ratio": 1, "later": 2}, "f.json") == Inner(1.0)
    with pytest.raises(ModelError, match=r"^f\.json: knows ratio; found later, more$"):
        from_plain(Inner, {"ratio": 1, "more": 3, "later": 2}, "f.json", error=ModelError, strict=True)
