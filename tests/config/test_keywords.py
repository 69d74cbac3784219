"""Keyword arguments and settings dataclasses say the same options."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

import effiseg
from effiseg.config import keywords
from effiseg.config.benchmark import BenchmarkConfig
from effiseg.config.comparison import AblationConfig
from effiseg.config.conversion import ModelConvertConfig
from effiseg.config.dataset import (
    DataCheckConfig,
    DataConvertConfig,
    DataShardConfig,
    DataStatisticsConfig,
    SynthesizeConfig,
)
from effiseg.config.evaluation import EvaluationConfig
from effiseg.config.export import ExportConfig
from effiseg.config.inspection import InspectionConfig
from effiseg.config.prediction import PredictionConfig
from effiseg.config.pretraining import PretrainConfig
from effiseg.config.publishing import PushConfig
from effiseg.config.training import TrainConfig
from effiseg.config.web import ServeConfig, SiteConfig
from effiseg.errors import UsageError

# What a comparison refuses: its rows and seeds are lists, and every row trains equally long.
REFUSED = {"recipe", "seed", "select", "early_stop_epochs"}
FUNCTIONS: list[tuple[Callable[..., Any], type[Any], type[Any], set[str]]] = [
    (effiseg.train, TrainConfig, keywords.TrainKeywords, set()),
    (effiseg.pretrain, PretrainConfig, keywords.PretrainKeywords, set()),
    (effiseg.ablate, AblationConfig, keywords.AblationKeywords, REFUSED),
    (effiseg.check_data, DataCheckConfig, keywords.DataKeywords, set()),
    (effiseg.data_statistics, DataStatisticsConfig, keywords.DataStatisticsKeywords, set()),
    (effiseg.convert_data, DataConvertConfig, keywords.DataConvertKeywords, set()),
    (effiseg.shard_data, DataShardConfig, keywords.DataShardKeywords, set()),
    (effiseg.convert_model, ModelConvertConfig, keywords.ModelConvertKeywords, set()),
    (effiseg.synthesize_scenes, SynthesizeConfig, keywords.SynthesizeKeywords, set()),
    (effiseg.inspect_norms, InspectionConfig, keywords.InspectionKeywords, set()),
    (effiseg.evaluate, EvaluationConfig, keywords.EvaluationKeywords, {"predictions"}),
    (effiseg.predict, PredictionConfig, keywords.PredictionKeywords, set()),
    (effiseg.export_model, ExportConfig, keywords.ExportKeywords, set()),
    (effiseg.export_site, SiteConfig, keywords.SiteKeywords, set()),
    (effiseg.serve, ServeConfig, keywords.ServeKeywords, set()),
    (effiseg.run_benchmark, BenchmarkConfig, keywords.BenchmarkKeywords, set()),
    (effiseg.push, PushConfig, keywords.PushKeywords, set()),
]
every_function = pytest.mark.parametrize(
    ("function", "settings", "names", "refused"), FUNCTIONS, ids=[function.__name__ for function, *_ in FUNCTIONS]
)


def without_none(hint: Any) -> set[Any]:
    alternatives = get_args(hint) if get_origin(hint) in (UnionType, Union) else (hint,)
    return set(alternatives) - {NoneType}


@every_function
def test_every_setting_is_a_keyword_of_its_type(
    function: Callable[..., Any], settings: type[Any], names: type[Any], refused: set[str]
) -> None:
    hints, typed = get_type_hints(settings), get_type_hints(names)
    positional = set(inspect.signature(inspect.unwrap(function)).parameters) - set(typed)
    own = {item.name for item in dataclasses.fields(settings)}
    assert set(typed) == own - positional - refused
    for name, hint in typed.items():
        plain = without_none(hints[name])
        if plain <= {int, float, bool} or get_origin(next(iter(plain))) is Literal:
            assert without_none(hint) == plain, name
        if hints[name] not in (int, float, bool, str):
            assert (NoneType in get_args(hints[name])) <= (NoneType in get_args(hint)), name


@every_function
def test_notebooks_see_every_keyword_with_its_default(
    function: Callable[..., Any], settings: type[Any], names: type[Any], refused: set[str]
) -> None:
    shown = inspect.signature(function).parameters
    assert set(get_type_hints(names)) <= set(shown)
    assert all(item.kind is not inspect.Parameter.VAR_KEYWORD for item in shown.values())
    for item in dataclasses.fields(settings):
        if item.name in get_type_hints(names) and item.default is not dataclasses.MISSING:
            assert shown[item.name].default == item.default


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (lambda: effiseg.check_data("my.yaml", data_rot="x"), "check_data: unknown key 'data_rot'; did you mean"),
        (lambda: effiseg.data_statistics("my.yaml", image_size="16x16"), "image_size must be at least 32x32"),
        (lambda: effiseg.convert_data("my.yaml", "out", link="perhaps"), "link: Expected true or false"),
        (lambda: effiseg.synthesize_scenes("scenes", train=-1), "train must be at least 0; found -1"),
        (lambda: effiseg.inspect_norms("runs/b0", "my.yaml", images=0), "images must be at least 1; found 0"),
        (lambda: effiseg.push("runs/b0", "me/net", private=1), "private: Expected true or false"),
    ],
)
def test_keywords_are_checked_before_anything_is_read(call: Callable[[], Any], found: str) -> None:
    with pytest.raises(UsageError) as caught:
        call()
    assert found in str(caught.value)
    assert "\n" not in str(caught.value)
