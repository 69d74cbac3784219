"""Command lines: words without a name, switches, former names, and what --help says of every option."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from effiseg.cli import COMMANDS, main
from effiseg.config.aliases import ALIASES
from effiseg.config.command_line import parse_command
from effiseg.config.dataset import DataConvertConfig, SynthesizeConfig
from effiseg.config.prediction import PredictionConfig
from effiseg.config.publishing import ReportConfig
from effiseg.config.training import TrainConfig
from effiseg.config.values import all_settings
from effiseg.errors import UsageError


def predicted(*words: str) -> PredictionConfig:
    return parse_command(PredictionConfig, words, prog="effiseg predict", description="", words=("model", "source"))


def converted(*words: str) -> DataConvertConfig:
    return parse_command(DataConvertConfig, words, prog="effiseg data convert", description="", words=("data",))


def test_words_stand_before_between_and_behind_options() -> None:
    made = predicted("m", "--flip", "a.png", "--out", "o", "b.png")
    assert (made.model, made.source, made.out, made.flip) == ("m", ["a.png", "b.png"], Path("o"), True)
    assert predicted("--out=o", "m", "0").source == ["0"]
    assert predicted("--out", "o", "--", "m", "--odd.png").source == ["--odd.png"]


@pytest.mark.parametrize(
    ("words", "on"),
    [
        (["--flip"], True),
        (["--flip", "true"], True),
        (["--flip=false"], False),
        (["--flip", "false"], False),
        ([], False),
    ],
)
def test_a_switch_needs_no_value(words: list[str], on: bool) -> None:
    assert predicted("m", "a.png", "--out", "o", *words).flip is on


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--out", "o"], "DATA is missing"),
        (["a.yaml"], "--out is missing"),
        (["a.yaml", "b.yaml", "--out", "o"], "unknown argument 'b.yaml'; effiseg data convert takes one DATA"),
        (["a.yaml", "--out"], "--out needs a value"),
        (["a.yaml", "--out", "--link"], "--out needs a value"),
        (["a.yaml", "--uot", "o"], "unknown option '--uot'; did you mean '--out'?"),
        (["a.yaml", "out=o"], "'out=o': options start with --; write --out o"),
        (["a.yaml", "--project", "o"], "unknown option '--project'; write --out FOLDER"),
        (["a.yaml", "-o", "o"], "unknown option '-o'; see effiseg data convert --help"),
        (["a.yaml", "--out", "o", "--link=perhaps"], "--link: Expected true or false. Got value: perhaps"),
    ],
)
def test_refusals_are_one_line(words: list[str], found: str) -> None:
    with pytest.raises(UsageError) as caught:
        converted(*words)
    assert found in str(caught.value)
    assert "\n" not in str(caught.value)


def test_former_names_are_understood_with_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def reported(*words: str) -> ReportConfig:
        return parse_command(ReportConfig, words, prog="effiseg report", description="", words=("paths",))

    assert reported("runs/b0", "--out", "o", "--colours", "safe").colors == "safe"
    assert capsys.readouterr().err == "effiseg report: --colours is now --colors\n"
    (tmp_path / "old.yaml").write_text("colours: safe\n")
    assert reported("runs/b0", "--out", "o", "--config", str(tmp_path / "old.yaml")).colors == "safe"


def test_printed_settings_are_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def drawn(*words: str) -> SynthesizeConfig:
        return parse_command(SynthesizeConfig, words, prog="effiseg", description="", words=("folder",))

    with pytest.raises(SystemExit):
        drawn("scenes", "--size", "64x96", "--val", "3", "--print_config")
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["size"] == [64, 96]
    (tmp_path / "own.yaml").write_text(printed)
    assert drawn("--config", str(tmp_path / "own.yaml")) == drawn("scenes", "--size", "64x96", "--val", "3")


def trained(*words: str) -> TrainConfig:
    return parse_command(TrainConfig, words, prog="effiseg train", description="", with_recipe=True)


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases_mean_a_setting_of_training(alias: str) -> None:
    assert ALIASES[alias] in all_settings(TrainConfig)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["--lr", "1e-3"], ["--optimizer.lr", "1e-3"]),
        (["--imgsz", "64"], ["--image_size", "64x64"]),
        (["--batch=2"], ["--batch_size", "2"]),
        (["--image-size", "64x96"], ["--image_size", "64x96"]),
        (["--optimizer.weight-decay", "0"], ["--optimizer.weight_decay", "0"]),
        (["--model", "b1"], ["--model.variant", "b1"]),
        (["--model", "{variant: b1}"], ["--model.variant", "b1"]),
        (["--loss", "dice"], ["--loss.name", "dice"]),
        (["--compile"], ["--compile", "true"]),
    ],
)
def test_aliases_are_the_settings_they_mean(words: list[str], meant: list[str]) -> None:
    assert trained(*words) == trained(*meant)


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("imgsz=640", "write --image_size 640"),
        ("epochs=5", "write --epochs 5"),
        ("name=exp", "write --out FOLDER"),
        ("--amp", "write --precision bfloat16"),
        ("--patience", "write --early_stop_epochs N"),
    ],
)
def test_words_of_other_software_are_answered_with_ours(word: str, answer: str) -> None:
    with pytest.raises(UsageError, match=answer):
        trained(word)


def test_a_file_with_an_equals_sign_in_its_name_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("flip=1").touch()
    assert predicted("m", "flip=1", "b=c.png").source == ["flip=1", "b=c.png"]


@pytest.mark.parametrize(("command", "most"), [("train", 20), ("ablate", 20), ("pretrain", 20)])
def test_help_of_long_commands_is_one_screen(command: str, most: int, capsys: pytest.CaptureFixture[str]) -> None:
    def shown(flag: str) -> list[str]:
        with pytest.raises(SystemExit):
            main([command, flag])
        return re.findall(r"^  (--[\w.]+)", capsys.readouterr().out, flags=re.MULTILINE)

    common, everything = shown("--help"), shown("--help-all")
    own = set(common) - {"--config", "--print_config", "--quiet", "--help"}
    assert 10 <= len(own) <= most
    assert own <= set(everything)
    assert {"--config", "--print_config"} <= set(everything)
    assert len(everything) > 60


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_every_option_of_every_command_has_its_sentence(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*command.split(), "--help-all"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: effiseg {command} ")
    blocks = re.split(r"^  (?=--|[A-Z]+ |-h)", shown, flags=re.MULTILINE)[1:]
    assert any(block.startswith("--config FILE") for block in blocks)
    for block in blocks:
        # "--name VALUE  Its sentence. (default: …": what stands after the name and what it takes, over any lines.
        name, sentence = re.split(r"\s{2,}|\n", block, maxsplit=1)
        assert len(sentence.split("(default")[0].split("(required")[0].split()) > 1, name
