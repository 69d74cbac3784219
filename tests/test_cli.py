"""The command table."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from effiseg.cli import COMMANDS, help_text, main


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from effiseg.cli import main; main(['--help']); "
        "heavy = {'torch', 'lightning', 'numpy', 'cv2', 'yaml'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: effiseg" in done.stdout


def test_every_command_is_listed_and_exists() -> None:
    for command in COMMANDS:
        assert f"  {command.name} " in help_text()
        assert find_spec(command.module) is not None


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from effiseg import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"effiseg {__version__}\n"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["trian"], "did you mean 'train'"),
        (["data"], "data needs one of: "),
        (["data", "stat"], "data needs one of"),
        (["xyzzy"], "see `effiseg --help`"),
    ],
)
def test_unknown_command(words: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert hint in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_unknown_option_is_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main([*command.split(), "--no_such_option", "1"])
    except SystemExit as error:
        code = int(error.code or 0)
    assert code == 2
    error = capsys.readouterr().err
    assert "no_such_option" in error
    assert error.strip().count("\n") == 0
