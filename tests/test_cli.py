"""The command table."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest

from effiseg.cli import COMMANDS, help_text, main
from effiseg.messages import is_quiet


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from effiseg.cli import main; main(['--help']); "
        "heavy = {'torch', 'lightning', 'numpy', 'cv2', 'yaml'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: effiseg" in done.stdout


def test_the_help_of_a_command_imports_no_torch() -> None:
    code = (
        "import sys\nfrom effiseg.cli import COMMANDS, main\n"
        "for command in COMMANDS:\n"
        "    try: main([*command.name.split(), '--help'])\n"
        "    except SystemExit as stopped: assert stopped.code == 0\n"
        "heavy = {'torch', 'lightning', 'cv2', 'matplotlib', 'rich'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("--print_config") == len(COMMANDS)


def test_every_command_is_listed_and_exists() -> None:
    for command in COMMANDS:
        assert f"  {command.name} " in help_text()
        assert find_spec(command.module) is not None


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from effiseg import __version__

    for flag in ("--version", "-V"):
        assert main([flag]) == 0
        first, packages = capsys.readouterr().out.splitlines()
        assert first == f"effiseg {__version__}"
        assert f"torch {metadata.version('torch')}" in packages


@pytest.mark.parametrize("words", [["help", "train"], ["train", "-h"], ["help", "data", "check"]])
def test_help_of_a_command_can_be_asked_for_in_two_ways(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith(
        f"usage: effiseg {' '.join(word for word in words if word[0] not in 'h-')}"
    )


@pytest.mark.parametrize("words", [["data", "--help"], ["help", "data"]])
def test_help_of_a_group_lists_its_commands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == [
        command.name.split()[1] for command in COMMANDS if command.name.startswith("data ")
    ]


def test_quiet_leaves_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "nowhere", "--data", "nowhere.yaml", "--quiet"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "nowhere.yaml" in line
    assert not is_quiet()


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


@pytest.mark.parametrize("how", ["folder", "elsewhere", "n" * 300])
def test_a_fault_of_ours_is_one_line_that_says_where_its_traceback_lies(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(argv: list[str]) -> int:
        raise ValueError("a bug\nof two lines")

    monkeypatch.setattr("effiseg.commands.data_check.run", run)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    out = tmp_path if how == "folder" else tmp_path / how
    assert main(["data", "check", "--out", str(out)]) == 70
    line = capsys.readouterr().err
    assert line.startswith("effiseg data check: a fault of effiseg's own (ValueError: a bug of two lines); ")
    assert line.count("\n") == 1
    (file,) = tmp_path.glob("traceback.txt" if how == "folder" else "temporary/effiseg-*.txt")
    assert str(file) in line
    assert "ValueError: a bug" in file.read_text()


def test_where_nothing_can_be_written_the_traceback_is_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(argv: list[str]) -> int:
        raise ValueError("a bug")

    monkeypatch.setattr("effiseg.commands.data_check.run", run)
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    assert main(["data", "check"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_the_systems_refusal_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(argv: list[str]) -> int:
        raise PermissionError(13, "Permission denied", "/some/file")

    monkeypatch.setattr("effiseg.commands.data_check.run", run)
    assert main(["data", "check"]) == 2
    assert capsys.readouterr().err == "effiseg data check: /some/file: Permission denied\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are a POSIX thing")
def test_a_second_interrupt_prints_no_traceback() -> None:
    code = (
        "import atexit, os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a background may ignore it\n"
        "import effiseg.commands.data_check as command\n"
        "from effiseg.cli import main\n"
        "atexit.register(os.kill, os.getpid(), signal.SIGINT)\n"
        "command.run = lambda argv: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.argv = ['effiseg', 'data', 'check']\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "effiseg data check: stopped\n")
