"""`effiseg completion`: a shell completes commands and options with it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from effiseg.cli import main


def completed(script: str, words: list[str], place: Path) -> list[str]:
    """What bash offers for the last of the words."""
    effiseg = place / "effiseg"
    effiseg.write_text(f'#!/bin/sh\nexec {sys.executable} -m effiseg "$@"\n')
    effiseg.chmod(0o755)
    line = f"COMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}; _effiseg; "
    done = subprocess.run(
        ["bash", "-c", f'PATH={place}:$PATH\n{script}\n{line}printf "%s\\n" "${{COMPREPLY[@]}}"'],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_and_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert completed(script, ["effiseg", "pre"], tmp_path) == ["pretrain", "predict"]
    assert completed(script, ["effiseg", "data", "st"], tmp_path) == ["stats"]
    assert completed(script, ["effiseg", "train", "--opt"], tmp_path)[0].startswith("--optimizer.")
    assert "--splits" in completed(script, ["effiseg", "data", "stats", "--"], tmp_path)
    assert completed(script, ["effiseg", "train", "my"], tmp_path) == []  # files, as the shell itself completes them


def test_every_shell_has_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in ("zsh", "fish"):
        assert main(["completion", shell]) == 0
        script = capsys.readouterr().out
        assert "train" in script
        assert "@" not in script.replace("$@", "").replace("[@]", "")
    assert main(["completion", "tcsh"]) == 2
