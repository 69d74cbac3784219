"""The comparison as Markdown and CSV: Table 2 of the paper, with what it leaves out."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from effiseg.files import write_text
from effiseg.results import PROTOCOLS, AblationResult, AblationRow

TITLES = {
    "teacher": "Teacher",
    "baseline": "Baseline",
    "tanh": "+ Tanh",
    "tanh_linear": "+ Tanh + Linear",
    "kd": "+ KD",
    "dice_focal": "+ Dice-Focal",
    "combined": "+ all three",
}


def write_tables(result: AblationResult, folder: Path) -> None:
    """Write table.md and table.csv into `folder`."""
    write_text(folder / "table.md", markdown_table(result))
    write_text(folder / "table.csv", csv_table(result))


def markdown_table(result: AblationResult) -> str:
    """The table, the protocol under it, and how the rows' settings differ from the baseline's."""
    miou = f"mIoU {result.settings.get('split', '')} (%)"
    lines = [
        f"| Row | Params (M) | GMACs | + attention | {miou} | Δ | FPS |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    best = max((row.miou for row in result.rows if row.miou is not None and row.name != "teacher"), default=None)
    for row in result.rows:
        lines.append("| " + " | ".join(cells(row, best)) + " |")
    return "\n".join([*lines, "", protocol_text(result), "", *differences_text(result)]) + "\n"


def cells(row: AblationRow, best: float | None) -> list[str]:
    """One row's cells; the best student's mIoU is bold."""
    miou = "–" if row.miou is None else f"{row.miou:.2f}"
    if row.miou_sd is not None:
        miou += f" ± {row.miou_sd:.2f}"
    return [
        TITLES.get(row.name, row.name),
        f"{row.params_m:.2f}",
        f"{row.gmacs:.2f}",
        f"{row.gmacs_attention:.2f}",
        f"**{miou}**" if row.miou is not None and row.miou == best and row.name != "teacher" else miou,
        "" if row.delta is None else f"{row.delta:+.2f}",
        "–" if row.fps is None else f"{row.fps:.2f}",
    ]


def protocol_text(result: AblationResult) -> str:
    """How the numbers were obtained, in one paragraph."""
    s = result.settings
    seeds = sorted({seed for row in result.rows for seed in row.seeds})
    steps = sorted({run.steps for row in result.rows if row.name != "teacher" for run in row.runs if run.steps})
    words = [
        f"{result.dataset['name']}, {len(result.dataset['names'])} classes, {s['split']} split ({s['images']} images), "
        f"{PROTOCOLS[result.protocol]}, one confusion matrix over the split.",
        f"Trained from scratch at {s['image_size']} ({s['resize']}), {s['epochs']} epochs"
        + (f" (teacher {s['teacher_epochs']})" if s["teacher_epochs"] != s["epochs"] else "")
        + f" of batch {s['batch_size']}"
        + (f" ({steps[0]} steps)" if len(steps) == 1 else "")
        + f", augmentation {s['augment']}, {s['precision']} on {s['device']};"
        + f" last weights{'' if s['ema_decay'] is None else ' (moving average)'};"
        + f" seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
        + (" (mean ± sample sd)." if len(seeds) > 1 else ": one seed, so no spread is known."),
        f"Always predicting the most frequent class scores {s['chance_miou']:.2f} %.",
        f"GMACs at {s['complexity_size']}, attention products counted apart.",
    ]
    if s.get("latency_size") and any(row.fps for row in result.rows):
        where = result.environment
        words.append(
            f"FPS at {s['latency_size']}, batch 1, PyTorch eager, unfused, "
            f"{where['gpus'][0] if s['device'] == 'cuda' and where['gpus'] else where['cpu']}, "
            f"{where['threads']} threads; rows of one architecture share one measurement."
        )
    if not s.get("complete", True):
        words.append("**Unfinished: more runs are to come.**")
    return " ".join(words)


def differences_text(result: AblationResult) -> list[str]:
    """Every setting in which a row differs from the baseline."""
    lines = ["Settings that differ from the baseline's:", ""]
    for row in result.rows:
        listed = ", ".join(f"`{key}: {value}`" for key, value in row.settings.items())
        if listed:
            lines.append(f"- {TITLES.get(row.name, row.name)}: {listed}")
    return lines


def csv_table(result: AblationResult) -> str:
    """One line a row, full precision."""
    names = result.dataset["names"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ["name", "recipe", "params_m", "gmacs", "gmacs_attention", "miou", "miou_sd", "delta"]
    columns += ["latency_ms", "fps", "train_seconds"]
    writer.writerow([*columns, *(f"iou {name}" for name in names)])
    for row in result.rows:
        writer.writerow([*(getattr(row, column) for column in columns), *(row.class_iou[n] for n in names)])
    return text.getvalue()
