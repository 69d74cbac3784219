"""Settings from recipes, files and flags: who wins, what is refused, and what the shipped recipes say."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from effiseg.config.command_help import Command
from effiseg.config.command_line import parse_command, parse_layers
from effiseg.config.comparison import AblationConfig
from effiseg.config.parsing import (
    field_names,
    keyword_settings,
    make_settings,
    read_settings,
    recipe_names,
    recipe_settings,
    settings_dict,
    suggest,
)
from effiseg.config.training import TrainConfig
from effiseg.errors import UsageError
from effiseg.nested import flatten, merge_settings


def parse(*words: object) -> TrainConfig:
    return parse_command(TrainConfig, [str(w) for w in words], prog="effiseg train", description="", with_recipe=True)


def yaml_file(path: Path, **settings: Any) -> Path:
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def refusal(*words: object) -> str:
    """The error's text, which is always one line."""
    with pytest.raises(UsageError) as caught:
        parse(*words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Who wins


def test_without_a_word_everything_is_the_default() -> None:
    assert parse() == TrainConfig()


def test_recipe_then_files_then_flags(tmp_path: Path) -> None:
    recipe = yaml_file(tmp_path / "recipe.yaml", epochs=2, batch_size=2, workers=3, seed=9, loss={"gamma": 3.0})
    first = yaml_file(tmp_path / "first.yaml", batch_size=4, workers=4, seed=4, loss={"gamma": 4.0, "smooth": 4.0})
    second = yaml_file(tmp_path / "second.yaml", workers=5, seed=5, loss={"gamma": 5.0})
    made = parse("--recipe", recipe, "--config", first, "--config", second, "--seed", 6)
    assert (made.epochs, made.batch_size, made.workers, made.seed) == (2, 4, 5, 6)
    assert (made.loss.gamma, made.loss.smooth, made.loss.dice_weight) == (5.0, 4.0, 0.5)
    turned = parse("--recipe", recipe, "--config", second, "--config", first)
    assert (turned.workers, turned.loss.gamma) == (4, 4.0)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (1, 0, 2)])
def test_flags_win_wherever_they_stand(tmp_path: Path, order: tuple[int, ...]) -> None:
    file = yaml_file(tmp_path / "own.yaml", loss={"name": "focal"}, epochs=3, model={"variant": "b3"})
    parts = [["--config", file], ["--loss.name", "tversky", "--epochs=7"], ["--recipe", "tanh"]]
    made = parse(*(word for index in order for word in parts[index]))
    assert (made.loss.name, made.epochs, made.recipe) == ("tversky", 7, "tanh")
    assert (made.model.variant, made.model.patch_norm) == ("b3", "dyt")


def test_a_flag_at_its_default_still_wins(tmp_path: Path) -> None:
    file = yaml_file(tmp_path / "own.yaml", epochs=3, model={"variant": "b3"})
    made = parse("--config", file, "--epochs", 100, "--model.variant", "b0")
    assert (made.epochs, made.model.variant) == (100, "b0")


def test_a_file_may_name_the_recipe_and_a_flag_another(tmp_path: Path) -> None:
    file = yaml_file(tmp_path / "own.yaml", recipe="kd")
    assert parse("--config", file).distillation.feature_weight == 1
    overruled = parse("--config", file, "--recipe", "dice_focal")
    assert (overruled.recipe, overruled.loss.name, overruled.distillation.enabled) == (
        "dice_focal",
        "dice_focal",
        False,
    )


def test_layers_hold_what_was_said_and_nothing_else(tmp_path: Path) -> None:
    file = yaml_file(tmp_path / "own.yaml", workers=3)
    layers = parse_layers(
        AblationConfig, ["--epochs", "3", "--config", str(file), "--loss.gamma", "1"], Command("", "")
    )
    assert layers == [(str(file), {"workers": 3}), ("command line", {"epochs": 3, "loss": {"gamma": 1.0}})]


# What is refused, in one line


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--epohcs", "3"], "unknown option '--epohcs'; did you mean '--epochs'?"),
        (["--epoch", "3"], "unknown option '--epoch'; did you mean '--epochs'?"),  # no silent abbreviation
        (["--epohcs=3"], "did you mean '--epochs'?"),
        (["--model.vairant", "b1"], "did you mean '--model.variant'?"),
        (["--confg", "paper"], "did you mean '--config'?"),
        (["--qqqqq", "1"], "unknown option '--qqqqq'; see effiseg train --help"),
        (["stray"], "'stray'"),
        (["--epochs", "three"], "--epochs: Expected an int. Got value: three"),
        (["--epochs", "2.5"], "--epochs: Expected an int"),
        (["--epochs"], "--epochs"),
        (["--optimizer.lr", "fast"], "--optimizer.lr: Expected a float"),
        (["--optimizer.betas", "0.9,x"], "--optimizer.betas"),
        (["--augment", "fancy"], "--augment: Expected one of 'standard', 'paper', 'none'. Got value: fancy"),
        (["--model.variant", "b9"], "'b5'"),
        (["--optimizer", "b1"], "--optimizer: must be a mapping, or set its keys; found 'b1'"),
        (["--recipe", "tahn"], "unknown recipe 'tahn'; did you mean 'tanh'?"),
        (["--recipe", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["--config", "papr"], "unknown config 'papr'; did you mean 'paper'?"),
        (["--config", "no/where.yaml"], "no/where.yaml: no such file"),
        (["--image_size", "16x16"], "at least 32x32"),
    ],
)
def test_refused_flags(words: list[str], found: str) -> None:
    assert found in refusal(*words)


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"epohcs": 3}, "own.yaml: unknown key 'epohcs'; did you mean 'epochs'?"),
        ({"model": {"vairant": "b1"}}, "own.yaml: unknown key 'model.vairant'; did you mean 'model.variant'?"),
        ({"optimiser": {"lr": 1e-3}}, "did you mean 'optimizer.lr'?"),
        ({"epochs": "three"}, "--epochs: Expected an int"),
        ({"out": "a\0b"}, "--out: Expected a text without null characters"),
        ({"epochs": [3]}, "--epochs"),
        ({"loss": {"name": "dicefocal"}}, "--loss.name: Expected one of 'cross_entropy'"),
        ({"loss": "dice"}, "loss"),
        ({"precision": 8}, "--precision"),
    ],
)
def test_refused_files(tmp_path: Path, settings: dict[str, Any], found: str) -> None:
    assert found in refusal("--config", yaml_file(tmp_path / "own.yaml", **settings))


@pytest.mark.parametrize(("text", "found"), [("epochs: [1", "line 1"), ("- epochs", "key: value"), ("", "key: value")])
def test_files_that_are_no_settings(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    message = refusal("--config", tmp_path / "own.yaml")
    assert "own.yaml" in message
    assert found in message


def test_suggestions_list_everything_when_nothing_is_near() -> None:
    assert suggest("epoch", ["epochs", "seed"]) == "; did you mean 'epochs'?"
    assert suggest("xyz", ["epochs", "seed"]) == "; known: epochs, seed"


# Forms of values


def test_lists_are_separated_by_commas() -> None:
    made = parse("--optimizer.betas", "0.8,0.95", "--distillation.feature_stage_weights=1,2,3,4")
    assert made.optimizer.betas == [0.8, 0.95]
    assert made.distillation.feature_stage_weights == [1, 2, 3, 4]
    assert parse("--optimizer.betas", "[0.8, 0.95]").optimizer.betas == [0.8, 0.95]

    def compared(*words: str) -> AblationConfig:
        return parse_command(AblationConfig, words, prog="effiseg ablate", description="")

    assert compared("--seeds", "0,1,2", "--recipes", "baseline,my/own.yaml").seeds == [0, 1, 2]
    assert compared("--seeds", "7", "--recipes", "kd").recipes == ["kd"]
    assert compared("--seeds=3,1").seeds == [3, 1]


@pytest.mark.parametrize(
    ("value", "present"), [(32, "float32"), ("32", "float32"), (16, "float16"), ("bf16", "bfloat16")]
)
def test_former_words_of_precision_are_understood(
    tmp_path: Path, value: object, present: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parse("--config", yaml_file(tmp_path / "own.yaml", precision=value)).precision == present
    assert capsys.readouterr().err == ""  # what an earlier version wrote
    assert parse("--precision", value).precision == present
    assert capsys.readouterr().err == f"effiseg train: --precision {value} is now --precision {present}\n"
    assert (
        keyword_settings(TrainConfig, "train", {"data": "d.yaml", "out": "o", "precision": value}).precision == present
    )
    assert capsys.readouterr().err == f"train: precision {value} is now {present}\n"


def test_null_switches_off(tmp_path: Path) -> None:
    file = yaml_file(tmp_path / "own.yaml", ema_decay=0.9, optimizer={"gradient_clip_norm": 1.0})
    assert parse("--config", file).ema_decay == 0.9
    off = parse("--config", file, "--ema_decay", "null", "--optimizer.gradient_clip_norm", "null")
    assert (off.ema_decay, off.optimizer.gradient_clip_norm) == (None, None)


# Printing and reading back


def test_print_config_is_read_back_as_the_same_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--recipe", "combined", "--config", "paper", "--data", "a b.yaml", "--seed", "3", "--precision", "float16",
        "--ema_decay", "0.999", "--augmentation.hue", "0.1", "--optimizer.betas", "0.8,0.9",
        "--optimizer.lr", "1e-5",
    ]  # fmt: skip
    with pytest.raises(SystemExit) as stopped:
        parse(*words, "--print_config")
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    (tmp_path / "printed.yaml").write_text(printed)
    made = parse(*words)
    assert made.optimizer.lr == 1e-5
    assert read_settings(TrainConfig, tmp_path / "printed.yaml") == made
    assert parse("--config", tmp_path / "printed.yaml") == made
    assert set(flatten(yaml.safe_load(printed))) == set(field_names(TrainConfig))


@pytest.mark.parametrize("settings_type", [TrainConfig, AblationConfig])
def test_every_setting_is_known_by_name_and_documented(
    settings_type: type[TrainConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(field_names(settings_type)) == set(flatten(settings_dict(settings_type())))
    with pytest.raises(SystemExit):
        parse_layers(settings_type, ["--help-all"], Command("effiseg", "What it does."))
    shown = " ".join(capsys.readouterr().out.split())
    assert "What it does." in shown
    for name in field_names(settings_type):
        # "--name VALUE Its sentence. (default: …"
        sentence = re.search(rf"--{re.escape(name)} \S+ ([^-].*?)\(default: ", shown)
        assert sentence is not None, name
        assert len(sentence[1].split()) > 1, name


def test_merging_leaves_its_arguments_alone() -> None:
    base, over = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}, "e": {"f": 5}}
    assert merge_settings(base, over) == {"a": {"b": 1, "c": 4}, "d": 3, "e": {"f": 5}}
    assert base == {"a": {"b": 1, "c": 2}, "d": 3}
    assert flatten(over) == {"a.c": 4, "e.f": 5}


def test_make_settings_serves_any_dataclass() -> None:
    @dataclass
    class Inner:
        """Inner."""

        depth: int = 1
        """How deep."""

    @dataclass
    class Outer:
        """Outer."""

        name: str = ""
        """A name."""
        inner: Inner = field(default_factory=Inner)
        """The inner part."""

    made = make_settings(Outer, ("one", {"inner": {"depth": 2}}), ("two", {"name": "x"}))
    assert asdict(made) == {"name": "x", "inner": {"depth": 2}}
    with pytest.raises(UsageError, match=r"two: unknown key 'inner\.dept'; did you mean 'inner\.depth'"):
        make_settings(Outer, ("two", {"inner": {"dept": 2}}))


# The shipped recipes: the table "What is being compared" of the paper, row by row

CE, DF = "cross_entropy", "dice_focal"
TABLE = {
    # row: variant, norm after the patch embeddings, all other norms, loss, (λ_KL, λ_FD, λ_PE)
    "teacher": ("b2", "layer_norm", "layer_norm", CE, (0, 0, 0)),
    "baseline": ("b0", "layer_norm", "layer_norm", CE, (0, 0, 0)),
    "tanh": ("b0", "dyt", "layer_norm", CE, (0, 0, 0)),
    "tanh_linear": ("b0", "dyt", "dyl", CE, (0, 0, 0)),
    "kd": ("b0", "layer_norm", "layer_norm", CE, (0, 1, 1)),
    "dice_focal": ("b0", "layer_norm", "layer_norm", DF, (0, 0, 0)),
    "combined_paper": ("b0", "dyt", "dyl", DF, (0, 1, 1)),
}


def test_the_recipes_are_the_rows_of_the_table() -> None:
    shipped = set(AblationConfig(recipes=["all"]).recipes)
    assert set(TABLE) <= shipped | {"teacher"}
    assert sorted(shipped | {"teacher", "pretrain"}) == recipe_names()  # starting weights are no row
    for word in ("rivals", "losses"):
        assert set(AblationConfig(recipes=[word]).recipes) <= shipped
    paper = AblationConfig(recipes=["paper"]).recipes
    assert AblationConfig().recipes == [*paper, "combined"]
    assert {*paper, AblationConfig().teacher_recipe} == set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_a_recipe_is_its_row_and_nothing_more(name: str) -> None:
    made = parse("--recipe", name)
    terms = made.distillation
    weights = (terms.kl_weight, terms.feature_weight, terms.patch_embedding_weight)
    row = (made.model.variant, made.model.patch_norm, made.model.block_norm, made.loss.name, weights)
    assert row == TABLE[name]
    assert terms.enabled == any(weights)
    # Weighted cross-entropy; Dice-Focal with λ_dice = ½ and γ = 2; α_l, β, λ_m, λ_S and T as in the paper.
    assert (made.loss.class_weights, made.loss.dice_weight, made.loss.gamma) == ("enet", 0.5, 2.0)
    assert (terms.mse_weight, terms.cosine_weight, terms.temperature, terms.detach_guidance) == (1.0, 0.5, 1.0, True)
    assert terms.feature_stage_weights == [1, 1, 1, 1]
    assert terms.patch_embedding_stage_weights == [0.1, 0.1, 0.5, 1.0]
    # Rows may differ in nothing else, or they could not be compared.
    assert {key.split(".")[0] for key in flatten(recipe_settings(name))} <= {"model", "loss", "distillation"}
    baseline = flatten(settings_dict(parse("--recipe", "baseline")))
    differing = {key for key, value in flatten(settings_dict(made)).items() if value != baseline[key]}
    assert differing <= {
        "recipe", "model.variant", "model.patch_norm", "model.block_norm", "loss.name",
        "distillation.feature_weight", "distillation.patch_embedding_weight",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted({*AblationConfig(recipes=["all"]).recipes} - {*TABLE, "combined"}))
def test_a_row_of_ours_is_the_baseline_but_for_one_strategy(name: str) -> None:
    made, baseline = settings_dict(parse("--recipe", name)), settings_dict(parse("--recipe", "baseline"))
    differing = {part for part in ("model", "loss", "distillation", "taper", "sampler") if made[part] != baseline[part]}
    assert differing in ({"distillation"}, {"loss"}, {"sampler"}, {"model", "taper"})
    assert len(parse("--recipe", name).distillation.weights) == (differing == {"distillation"})


def test_all_three_of_ours_are_its_rows_at_once() -> None:
    rows = (recipe_settings(name) for name in ("baseline", "dice_focal", "dist", "tanh_taper"))
    loss = {"loss": recipe_settings("dice_focal")["loss"]}
    assert recipe_settings("combined") == merge_settings({}, *rows, loss)


@pytest.mark.parametrize("name", TABLE)
def test_the_paper_config_is_section_4_3_over_any_recipe(name: str) -> None:
    made = parse("--recipe", name, "--config", "paper")
    assert (made.image_size, made.batch_size, made.epochs) == ("512x1024", 2, 200)
    assert (made.augment, made.protocol, made.loss.label_resolution) == ("paper", "quarter", "quarter")
    optimizer = made.optimizer
    assert (optimizer.lr, optimizer.betas, optimizer.eps) == (6e-4, [0.9, 0.999], 1e-8)
    assert (optimizer.power, optimizer.warmup_ratio) == (1.0, 0.05)
    assert made.loss.name == TABLE[name][3]
    assert made.model == parse("--recipe", name).model
    assert made.ema_decay is None
