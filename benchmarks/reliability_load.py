"""Load: memory that stays flat over ten thousand pictures, and a hundred thousand listed files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reliability_data import SMALL, Place, draw_pairs
from reliability_process import resident_mb, run_command

_BEGUN = 0.3
"""Share of the time after which everything that stays has been allocated."""


def measure_load(place: Place, pictures: int, listed: int) -> dict[str, Any]:
    """Memory over `pictures` pictures in every command that goes over them, and time and memory of `listed` files."""
    scratch = place.new("load")
    draw_pairs(scratch / "many", {"train": pictures, "val": 4})
    data = scratch / "many" / "data.yaml"
    images = scratch / "many" / "images" / "train"
    commands: dict[str, list[str | Path]] = {
        "train, 1 epoch": ["train", "--data", data, *SMALL, "--epochs", "1", "--out", scratch / "run"],
        "evaluate": ["evaluate", place.model, "--data", data, "--split", "train", "--workers", "0"],
        "predict": ["predict", place.model, images, "--out", scratch / "labels", "--save", "labels"],
        "data check": ["data", "check", data],
    }
    flat = {name: _memory(words, scratch) for name, words in commands.items()}
    draw_pairs(scratch / "listed", {"train": listed})
    (scratch / "listed" / "list.txt").write_text("".join(f"train/{index:06d}.png\n" for index in range(listed)))
    described = scratch / "listed" / "listed.yaml"
    described.write_text("train: list.txt\nnames: [grey, red, blue]\n")
    stats = run_command(["data", "stats", described], scratch, longest=3000)
    assert stats.code == 0, stats.error
    return {
        "pictures": pictures,
        "memory": flat,
        "listed": {"files": listed, "seconds": stats.seconds, "growth_mb": stats.growth_mb},
    }


def _memory(words: list[str | Path], scratch: Path) -> dict[str, float]:
    """Memory of a command with its processes, after 30 % of its time and at its most after that, MB."""
    samples: list[tuple[float, float]] = []
    outcome = run_command(
        words, scratch, watch=lambda number, seconds: samples.append((seconds, resident_mb(number))), longest=3000
    )
    assert outcome.code == 0, outcome.error
    later = [held for seconds, held in samples if seconds >= _BEGUN * outcome.seconds]
    whole = later[: max(1, 9 * len(later) // 10)]  # at the end reports are drawn
    return {
        "seconds": outcome.seconds,
        "begun_mb": sum(whole[:5]) / len(whole[:5]),
        "most_mb": max(whole),
        "growth_mb": max(whole) - sum(whole[:5]) / len(whole[:5]),
    }
