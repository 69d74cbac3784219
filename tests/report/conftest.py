"""A comparison on disk as `effiseg ablate` leaves it, with names that try to break out."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from effiseg.files import write_json, write_text, write_yaml
from effiseg.report.samples import SampleIndex, SavedSample
from effiseg.results import AblationResult, AblationRow, AblationRun, EvaluationResult

NAMES = ["road", "<script>alert('class')</script>", "=cmd|'/c calc'!A1 & $x_1$", "a_b \\textbf{#1} 100%"]
IDS = [f"image{number}" for number in range(11)] + ["<img src=x onerror=alert('file')>"]
ROWS = ["teacher", "baseline", "kd", "<b>mine</b>"]
GOOD = {"teacher": 0.9, "baseline": 0.5, "kd": 0.7, "<b>mine</b>": 0.45}
EPOCHS = 4


def evaluation(row: str, seed: int, split: str = "test") -> EvaluationResult:
    """A network that finds a share of the pixels of each class, and takes the others for the next class."""
    random = np.random.default_rng([ROWS.index(row), seed])
    size = len(NAMES)
    total = np.zeros((size, size + 1), np.int64)
    counts, iou = {}, {}
    for name in IDS:
        truth = np.random.default_rng(IDS.index(name)).integers(50, 400, size)
        hits = np.round(truth * np.clip(GOOD[row] + random.normal(0, 0.08, size), 0, 1)).astype(int)
        confusion = np.zeros((size, size + 1), np.int64)
        confusion[np.arange(size), np.arange(size)] = hits
        confusion[np.arange(size), (np.arange(size) + 1) % size] += truth - hits
        total += confusion
        counts[name] = [hits.tolist(), confusion.sum(1).tolist(), confusion[:, :size].sum(0).tolist()]
        iou[name] = float(100 * (hits / (truth + confusion[:, :size].sum(0) - hits)).mean())
    hits, truth, predicted = total.diagonal(), total.sum(1), total[:, :size].sum(0)
    class_iou = 100 * hits / (truth + predicted - hits)
    return EvaluationResult(
        miou=float(class_iou.mean()), class_iou=dict(zip(NAMES, class_iou.tolist(), strict=True)), mean_accuracy=50.0,
        pixel_accuracy=50.0, images=len(IDS), split=split, protocol="full", names=NAMES, confusion=total.tolist(),
        image_iou=iou, dataset="streets", image_counts=counts,
    )  # fmt: skip


def metrics(row: str, epochs: int) -> str:
    """A run's metrics.csv."""
    lines = ["epoch,step,lr,loss,supervised,feature,images_per_second,data_share,val_miou,val_pixel_accuracy"]
    for epoch in range(1, epochs + 1):
        value = 4.0 / epoch + ROWS.index(row)
        validated = f"{10.0 * epoch},{50.0}" if epoch % 2 == 0 else ","
        lines.append(f"{epoch},{epoch * 9},0.001,{value},{value / 2},{value / 4},3.5,0.25,{validated}")
    return "\n".join(lines) + "\n"


def write_run(folder: Path, row: str, seed: int, epochs: int = EPOCHS, split: str = "test") -> AblationRun:
    """A run folder; finished if it has all epochs."""
    loss = {"name": "dice" if row == "kd" else "ce"}
    config = {"recipe": row, "seed": seed, "epochs": EPOCHS, "batch_size": 2, "image_size": "32x64", "loss": loss}
    write_yaml(folder / "config.yaml", config)
    write_json(folder / "class_statistics.json", class_statistics())
    write_text(folder / "metrics.csv", metrics(row, epochs))
    found = evaluation(row, seed, split)
    if epochs < EPOCHS:
        write_json(folder / "validation.json", {"step": 9, "result": evaluation(row, seed, "val").to_dict()})
        return AblationRun(seed, f"runs/{folder.name}", None)
    write_json(folder / "results.json", {"kind": "training run", "val": evaluation(row, seed, "val").to_dict()})
    if split != "val":
        write_json(folder / f"evaluation-{split}.json", found.to_dict())
    return AblationRun(seed, f"runs/{folder.name}", found.miou, 60.0, found.class_iou, 36)


def class_statistics() -> dict[str, dict[str, float]]:
    return {
        "shares": dict(zip(NAMES, [0.9, 0.09, 0.0099, 0.0001], strict=True)),
        "weights": dict(zip(NAMES, [1.4, 5.0, 9.0, 10.4], strict=True)),
    }


def ablation_row(name: str, runs: list[AblationRun], baseline: float) -> AblationRow:
    found = [evaluation(name, run.seed) for run in runs]
    miou = float(np.mean([each.miou for each in found]))
    return AblationRow(
        name=name, recipe=name, params_m=27.4 if name == "teacher" else 3.72,
        gmacs=113.4 if name == "teacher" else 13.6,
        gmacs_attention=15.6 if name == "teacher" else 4.2, miou=miou, miou_sd=0.5 if len(runs) > 1 else None,
        delta=None if name == "baseline" else miou - baseline,
        class_iou={c: float(np.mean([each.class_iou[c] for each in found])) for c in NAMES},
        confusion=np.sum([each.confusion for each in found], axis=0).tolist(),
        image_iou={i: float(np.mean([each.image_iou[i] for each in found])) for i in IDS},
        latency_ms={"teacher": 800.0, "kd": 190.0}.get(name, 200.0),
        fps={"teacher": 1.25, "kd": 1000 / 190}.get(name, 5.0), train_seconds=60.0, seeds=[run.seed for run in runs],
        runs=runs, settings={"loss.name": "dice"} if name == "kd" else {},
    )  # fmt: skip


def write_samples(folder: Path, rows: list[str]) -> SampleIndex:
    chosen = []
    for number, (name, reasons) in enumerate([(IDS[-1], ["differ"]), (IDS[0], ["random"]), (IDS[1], ["worst"])]):
        place = folder / f"{number:03d}"
        place.mkdir(parents=True)
        truth = np.random.default_rng(number).integers(0, len(NAMES), (24, 40)).astype(np.uint8)
        truth[:3] = 255
        Image.fromarray(np.full((24, 40, 3), 60 * number, np.uint8)).save(place / "image.jpg")
        Image.fromarray(truth).save(place / "truth.png")
        for index, _ in enumerate(rows):
            wrong = truth.copy()
            wrong[: 6 * index] = 0
            Image.fromarray(wrong).save(place / f"{index}.png")
        chosen.append(
            SavedSample(name, place.name, reasons, ["kd"] if reasons == ["worst"] else [],  # type: ignore[arg-type]
                        {row: f"{i}.png" for i, row in enumerate(rows)}, dict.fromkeys(rows, 51.25))
        )  # fmt: skip
    index = SampleIndex(
        NAMES, [[10, 20, 30], [200, 0, 0], [0, 200, 0], [0, 0, 200]], rows, chosen, "test split", folder
    )
    index.write()
    return index


def write_comparison(folder: Path, seeds: list[int], **settings: Any) -> AblationResult:
    """A finished comparison of all rows; the teacher has one seed."""
    groups = {
        row: [write_run(folder / "runs" / f"{row.replace('<b>', '').replace('</b>', '')}-seed{seed}", row, seed)
              for seed in (seeds[:1] if row == "teacher" else seeds)]
        for row in ROWS
    }  # fmt: skip
    baseline = float(np.mean([evaluation("baseline", seed).miou for seed in seeds]))
    result = AblationResult(
        rows=[ablation_row(name, runs, baseline) for name, runs in groups.items()],
        dataset={"name": "streets", "names": NAMES, "palette": [[10, 20, 30], [200, 0, 0], [0, 200, 0], [0, 0, 200]]},
        class_shares=class_statistics()["shares"], class_weights=class_statistics()["weights"], protocol="full",
        environment={"cpu": "A CPU", "threads": 2, "gpus": []},
        command="effiseg ablate --data </code><script>x</script>",
        settings={"complete": True, "split": "test", "images": len(IDS), "chance_miou": 4.3, "epochs": EPOCHS,
                  "teacher_epochs": EPOCHS, "batch_size": 2, "image_size": "32x64", "resize": "keep_ratio",
                  "augment": "none", "ema_decay": None, "precision": "32", "device": "cpu",
                  "complexity_size": "512x1024", "latency_size": "512x1024", **settings},
    )  # fmt: skip
    write_json(folder / "results.json", result.to_dict())
    return result


@pytest.fixture(scope="session")
def invented() -> ModuleType:
    """The names and functions of this file."""
    return sys.modules[__name__]


@pytest.fixture(scope="session")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished comparison of four rows over two seeds, with saved samples."""
    folder = tmp_path_factory.mktemp("report") / "my comparison"
    write_comparison(folder, [0, 1])
    write_samples(folder / "samples", ROWS)
    return folder
