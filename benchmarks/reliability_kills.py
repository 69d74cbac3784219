"""Kills: what was stopped anywhere goes on and ends as if it had not been."""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path
from random import Random
from typing import Any

from reliability_data import SMALL, Place
from reliability_process import Outcome, run_command

TRAIN = (*SMALL, "--epochs", "4", "--checkpoint_minutes", "0", "--loss.name", "dice_focal")
_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def measure_kills(place: Place, count: int) -> dict[str, Any]:
    """Stop trainings, conversions and predictions at random moments, `count` times in all, and start them again."""
    generator, scratch = Random(0), place.new("kills")
    return {
        "train": _train(place, scratch, count - 2 * (count // 4), generator),
        "data convert": _files(place, scratch, "convert", count // 4, generator),
        "predict": _files(place, scratch, "predict", count // 4, generator),
    }


def _train(place: Place, scratch: Path, count: int, generator: Random) -> dict[str, Any]:
    words: list[str | Path] = ["train", "--data", place.data, *TRAIN]
    whole = run_command([*words, "--out", scratch / "whole"], scratch)
    assert whole.code == 0, whole.error
    found: dict[str, Any] = {"kills": 0, "runs": 0, "not_equal": 0, "leftovers": 0, "faults": []}
    while found["kills"] < count:
        out = scratch / f"run{found['runs']}"
        killed = True
        while killed:
            begun = (out / "config.yaml").is_file()
            again: list[str | Path] = ["train", "--resume", out] if begun else [*words, "--out", out]
            chosen = _SIGNALS[found["kills"] % len(_SIGNALS)]
            moment = generator.uniform(0, 1.1 * whole.seconds)
            outcome = run_command(again, scratch, stop=(moment, chosen) if found["kills"] < count else None)
            killed = outcome.code != 0
            found["kills"] += killed
            if killed and not _was_stopped(outcome, chosen):
                found["faults"].append(outcome.error[-300:])
                break
        found["runs"] += 1
        found["not_equal"] += _digest(out) != _digest(scratch / "whole")
        found["leftovers"] += len(list(out.rglob("*.partial*")))
    return found


def _files(place: Place, scratch: Path, what: str, count: int, generator: Random) -> dict[str, Any]:
    """Commands that write a folder: it is whole, or nothing stands in the way of the next."""

    def words(out: Path) -> list[str | Path]:
        if what == "convert":
            return ["data", "convert", place.data, "--out", out]
        return ["predict", place.model, place.data.parent / "images", "--out", out, "--existing", "skip"]

    whole = run_command(words(scratch / what), scratch)
    assert whole.code == 0, whole.error
    found: dict[str, Any] = {"kills": 0, "runs": 0, "not_equal": 0, "leftovers": 0, "faults": []}
    while found["kills"] < count:
        out = scratch / f"{what}{found['runs']}"
        chosen = _SIGNALS[found["kills"] % len(_SIGNALS)]
        outcome = run_command(words(out), scratch, stop=(generator.uniform(0, whole.seconds), chosen))
        found["kills"] += outcome.code != 0
        if outcome.code != 0 and not _was_stopped(outcome, chosen):
            found["faults"].append(outcome.error[-300:])
        again = outcome if outcome.code == 0 and what == "convert" else run_command(words(out), scratch)
        if again.code != 0:
            found["faults"].append(again.error[-300:])
        found["runs"] += 1
        found["not_equal"] += _digest(out) != _digest(scratch / what)
        found["leftovers"] += len(list(out.rglob("*.partial*")))
    return found


def _was_stopped(outcome: Outcome, number: int) -> bool:
    """Whether the command ended as a signal ends it, without a traceback."""
    return outcome.code in (-number, 128 + number) and "Traceback" not in outcome.error and not outcome.hung


def _digest(folder: Path) -> str:
    """A fingerprint of the weights of a run, or of the pictures in a folder."""
    digest = hashlib.blake2b()
    weights = folder / "model" / "model.safetensors"
    for path in [weights] if weights.is_file() else sorted(folder.rglob("*.png")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
