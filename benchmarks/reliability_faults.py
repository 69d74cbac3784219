"""Faults of the system: a full disk, something in the way, a name too long. One line each, and nothing half-written."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from reliability_data import SMALL, Place
from reliability_process import run_command

_FULL = 20_000
"""Bytes that a file may have where the disk is full: settings fit, weights and most results do not."""
_FULLER = 1000
"""The same for commands that write small pictures; what the command says fits, it is a file too."""


class _Case(NamedTuple):
    name: str
    words: tuple[str | Path, ...]
    file_bytes: int | None = None


def measure_faults(place: Place) -> dict[str, Any]:
    """Every command that writes, on a full disk and on paths where nothing can be written."""
    scratch = place.new("faults")
    (scratch / "file").write_text("in the way")
    (scratch / "folder").mkdir()
    found: dict[str, Any] = {"cases": 0, "one_line": 0, "leftovers": 0, "others": []}
    for case in _cases(place, scratch):
        outcome = run_command(case.words, scratch, file_bytes=case.file_bytes)
        found["cases"] += 1
        found["one_line"] += outcome.is_one_line or (outcome.code == 2 and _says_more_before(outcome.error))
        found["leftovers"] += len(list(scratch.rglob("*.partial*")))
        if outcome.code != 2 or "Traceback" in outcome.error:
            found["others"].append({"case": case.name, "code": outcome.code, "error": outcome.error[-300:]})
    if (scratch / "file").read_text() != "in the way":
        found["others"].append({"case": "the file in the way was replaced", "code": 0, "error": ""})
    return found


def _says_more_before(error: str) -> bool:
    """Whether a training said what it starts from, or how far it is, before it ended in one line."""
    lines = error.strip().splitlines()
    return bool(lines) and "Traceback" not in error and "cannot be written" in lines[-1]


def _cases(place: Place, scratch: Path) -> list[_Case]:
    commands: dict[str, tuple[str | Path, ...]] = {
        "train": ("train", "--data", place.data, *SMALL, "--epochs", "1", "--out"),
        "ablate": ("ablate", "--data", place.data, *SMALL, "--epochs", "1", "--recipes", "baseline", "--out"),
        "evaluate": ("evaluate", place.model, "--data", place.data, "--workers", "0", "--json"),
        "predict": ("predict", place.model, place.data.parent / "images", "--out"),
        "inspect-norms": ("inspect-norms", place.model, "--data", place.data, "--images", "2", "--out"),
        "data convert": ("data", "convert", place.data, "--out"),
        "data synthesize": ("data", "synthesize", "--train", "1", "--val", "1", "--size", "64x128", "--"),
        "export onnx": ("export", place.model, "--out"),
        "export openvino": ("export", place.model, "--out"),
        "report": ("report", place.folder / "kills" / "whole", "--out"),
    }
    suffixes = {"evaluate": ".json", "export onnx": ".onnx", "export openvino": ".xml"}
    cases: list[_Case] = []
    for name, words in commands.items():
        if name == "report" and not Path(words[1]).is_dir():
            continue  # the part kills was not asked for
        suffix = suffixes.get(name, "")
        cases.append(_Case(f"{name}: path under a file", (*words, scratch / "file" / f"x{suffix}")))
        cases.append(_Case(f"{name}: name too long", (*words, scratch / ("n" * 300 + suffix))))
        cases.append(_Case(f"{name}: no such device", (*words, Path("/proc/nowhere") / f"x{suffix}")))
        # a data set of small pictures and two scenes fit into what is left
        if name not in ("data convert", "predict", "evaluate"):
            full = (*words, scratch / f"full {name}{suffix}")
            cases.append(_Case(f"{name}: disk full", full, _FULLER if name.startswith("data") else _FULL))
    cases.append(_Case("evaluate: folder in the way", (*commands["evaluate"], scratch / "folder")))
    cases.append(_Case("predict: disk full", (*commands["predict"], scratch / "full predict"), _FULLER))
    cases.append(_Case("data convert: disk full", (*commands["data convert"], scratch / "full convert"), _FULLER))
    return cases
