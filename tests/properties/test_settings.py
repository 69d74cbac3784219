"""Settings: read back as they were written, the same from every door, and never a fault of ours."""

from __future__ import annotations

from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effiseg.config.benchmark import BenchmarkConfig
from effiseg.config.command_line import parse_command
from effiseg.config.comparison import AblationConfig
from effiseg.config.evaluation import EvaluationConfig
from effiseg.config.export import ExportConfig
from effiseg.config.parsing import make_settings, read_settings, settings_dict
from effiseg.config.prediction import PredictionConfig
from effiseg.config.training import TrainConfig
from effiseg.config.values import all_settings
from effiseg.errors import UsageError
from effiseg.files import write_yaml
from effiseg.nested import nest

GIVEN: dict[type, dict[str, Any]] = {
    TrainConfig: {"data": "d.yaml", "out": "o"},
    AblationConfig: {"data": "d.yaml", "out": "o"},
    EvaluationConfig: {"model": "m", "data": "d.yaml"},
    PredictionConfig: {"model": "m", "source": ["s"], "out": "o"},
    ExportConfig: {"out": "o.onnx"},
    BenchmarkConfig: {"models": ["m"]},
}
every_type = pytest.mark.parametrize("kind", GIVEN, ids=lambda kind: kind.__name__)
WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Plain values of a setting's type, most of them in its range."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is list:
        return st.lists(values_of(arguments[0]), min_size=1, max_size=3)
    if origin is tuple:
        return st.tuples(st.integers(32, 999), st.integers(32, 999)).map(lambda size: f"{size[0]}x{size[1]}")
    if origin is not None:
        return st.none() | values_of(next(inner for inner in arguments if inner is not NoneType))
    numbers = {int: st.integers(0, 9), float: st.floats(0, 1) | st.integers(1, 3), bool: st.booleans()}
    return numbers.get(hint, WORDS)


def some_settings(kind: type) -> st.SearchStrategy[dict[str, Any]]:
    """A few settings of a command, by their dotted names."""
    known = {name: setting for name, setting in all_settings(kind).items() if name not in GIVEN[kind]}
    pairs = st.sampled_from(sorted(known)).flatmap(lambda name: st.tuples(st.just(name), values_of(known[name].hint)))
    return st.lists(pairs, max_size=4).map(dict)


def made(kind: type, changed: dict[str, Any]) -> Any:
    return make_settings(kind, ("test", nest({**GIVEN[kind], **changed})))


def argument(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


@every_type
@settings(max_examples=10)
@given(data=st.data())
def test_settings_are_read_back_from_their_file(kind: type, data: st.DataObject, tmp_path: Path) -> None:
    changed = data.draw(some_settings(kind))
    try:
        config = made(kind, changed)
    except UsageError as error:
        assert "\n" not in str(error)
        return
    write_yaml(tmp_path / "s.yaml", plain(settings_dict(config)))
    assert read_settings(kind, tmp_path / "s.yaml") == config


@every_type
@settings(max_examples=25)
@given(data=st.data())
def test_a_command_line_says_what_a_file_says(kind: type, data: st.DataObject) -> None:
    changed = data.draw(some_settings(kind))
    words = [f"--{name}={argument(value)}" for name, value in {**GIVEN[kind], **changed}.items()]
    outcomes: list[Any] = []
    for make in (lambda: made(kind, changed), lambda: parse_command(kind, words, prog="x", description="")):
        try:
            outcomes.append(make())
        except UsageError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@every_type
@given(data=st.data())
def test_no_value_of_a_setting_is_a_fault_of_ours(kind: type, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(all_settings(kind))))
    value = data.draw(ANYTHING)
    try:
        made(kind, {name: value})
    except UsageError as error:
        assert "\n" not in str(error)


@every_type
@given(words=st.lists(st.text(max_size=8) | st.sampled_from(["--", "--out", "--data=", "--config", "-1"]), max_size=5))
def test_no_words_are_a_fault_of_ours(kind: type, words: list[str]) -> None:
    try:
        parse_command(kind, words, prog="x", description="")
    except (UsageError, SystemExit) as error:
        assert "\n" not in str(error)


def plain(value: Any) -> Any:
    """Settings as YAML has them: sizes and paths as texts."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return str(value) if isinstance(value, Path) else value
