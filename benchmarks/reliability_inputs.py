"""Damaged inputs: files with bytes changed, cut or repeated, and texts with values that no tool should write."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from reliability_data import SMALL, Place
from reliability_process import run_command

_MOST_MB = 2000.0
_LONGEST_SECONDS = 120.0
_VALUES = (
    "NaN",
    "-1",
    "1e999",
    "null",
    "[]",
    "{}",
    '""',
    "9" * 400,
    '"../../x"',
    "true",
    "0",
    "1.5",
    '"\\u0000"',
    "65536",
)
"""What takes the place of a value in a text."""


def measure_inputs(place: Place, count: int) -> dict[str, Any]:
    """`count` damaged files, of all kinds in turns: what the commands that read them end with."""
    scratch = place.new("inputs")
    kinds = list(_kinds(place, scratch).items())
    codes: Counter[int] = Counter()
    found: dict[str, Any] = {"inputs": count, "kinds": len(kinds), "faults": [], "most_seconds": 0.0, "most_mb": 0.0}
    for number in range(count):
        name, (file, words) = kinds[number % len(kinds)]
        good, generator = file.read_bytes(), Random(number)
        file.write_bytes(damaged(good, generator))
        outcome = run_command(words, scratch, longest=_LONGEST_SECONDS)
        codes[outcome.code] += 1
        found["most_seconds"] = max(found["most_seconds"], outcome.seconds)
        found["most_mb"] = max(found["most_mb"], outcome.growth_mb)
        if outcome.is_fault or outcome.growth_mb > _MOST_MB:
            shutil.copy(file, scratch / f"fault {number} {file.name}")
            found["faults"].append(
                {"kind": name, "number": number, "code": outcome.code, "error": outcome.error[-200:]}
            )
        file.write_bytes(good)
        for path in scratch.glob("out*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found | {"codes": {str(code): number for code, number in sorted(codes.items())}}


def damaged(data: bytes, generator: Random) -> bytes:
    """The bytes of a file, differently: cut off, a bit turned, a piece gone or twice, or a value of a text replaced."""
    start, length = generator.randrange(len(data) or 1), generator.randrange(1, 64)
    values = [place for place, byte in enumerate(data[:100_000]) if byte in b"0123456789"]
    choices: list[Callable[[], bytes]] = [
        lambda: data[:start],
        lambda: data[:start] + bytes([data[start] ^ 1 << generator.randrange(8)]) + data[start + 1 :],
        lambda: data[:start] + data[start + length :],
        lambda: data[: start + length] + data[start:],
        lambda: data[:start] + generator.randbytes(length) + data[start + length :],
    ]
    if values and data.isascii():
        place = generator.choice(values)
        choices += 4 * [lambda: data[:place] + generator.choice(_VALUES).encode() + data[place + 1 :]]
    return generator.choice(choices)()


def _kinds(place: Place, scratch: Path) -> dict[str, tuple[Path, list[str | Path]]]:
    """Kind of file → a good one, and the command that reads it."""
    pairs, model, run = scratch / "pairs", scratch / "model", scratch / "run"
    shutil.copytree(place.data.parent, pairs)
    shutil.copytree(place.model, model)
    (scratch / "settings.yaml").write_text("epochs: 1\noptimizer: {lr: 6e-4, betas: [0.9, 0.999]}\nseed: 3\n")
    results = scratch / "results.json"
    commands: tuple[tuple[str | Path, ...], ...] = (
        ("train", "--data", place.data, *SMALL, "--epochs", "1", "--out", run),
        ("evaluate", model, "--data", place.data, "--workers", "0", "--json", results),
    )
    for words in commands:
        outcome = run_command(words, scratch)
        assert outcome.code == 0, outcome.error
    (run / "results.json").unlink()
    coco, yolo = _described(pairs, "coco", "annotations: {train: a.json}\n"), _described(pairs, "yolo", "")
    _write_coco(pairs / "a.json", sorted((pairs / "images" / "train").glob("*.png")))
    for image in (pairs / "images" / "train").glob("*.png"):
        (pairs / "labels" / "train" / image.name).with_suffix(".txt").write_text("1 0.1 0.1 0.9 0.1 0.5 0.8\n")
    stats: list[str | Path] = ["data", "stats"]
    data = pairs / "data.yaml"
    first = Path("train") / "000000.png"
    out = scratch / "out"
    return {
        "data.yaml": (data, [*stats, data]),
        "settings": (scratch / "settings.yaml", ["train", "--config", scratch / "settings.yaml", "--print_config"]),
        "image": (pairs / "images" / first, ["data", "check", data]),
        "mask": (pairs / "labels" / first, [*stats, data]),
        "COCO": (pairs / "a.json", [*stats, coco]),
        "YOLO": ((pairs / "labels" / first).with_suffix(".txt"), [*stats, yolo]),
        "config.json": (model / "config.json", ["predict", model, pairs / "images" / "val", "--out", out]),
        "weights": (model / "model.safetensors", ["predict", model, pairs / "images" / "val", "--out", out]),
        "results": (results, ["report", results, "--out", out]),
        "run's settings": (run / "config.yaml", ["train", "--resume", run]),
        "metrics.csv": (run / "metrics.csv", ["report", run, "--out", out]),
        "checkpoint": (run / "checkpoints" / "last.ckpt", ["train", "--resume", run]),
    }


def _described(pairs: Path, kind: str, more: str) -> Path:
    file = pairs / f"{kind}.yaml"
    file.write_text(f"train: images/train\nnames: [grey, red, blue]\nmask_format: {kind}\nbackground: grey\n{more}")
    return file


def _write_coco(file: Path, images: list[Path]) -> None:
    listed = [{"id": n, "file_name": image.name, "height": 48, "width": 64} for n, image in enumerate(images)]
    regions = [
        {"id": n, "image_id": n, "category_id": 1, "segmentation": [[5, 5, 40, 5, 20, 30]]} for n in range(len(images))
    ]
    runs = {"counts": [1000, 500, 1572], "size": [48, 64]}
    regions.append({"id": 99, "image_id": 0, "category_id": 2, "segmentation": runs})
    categories = [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}]
    file.write_text(json.dumps({"images": listed, "annotations": regions, "categories": categories}))
