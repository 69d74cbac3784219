"""The inference section of docs/performance.md, made of benchmarks/results/inference.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
TITLES = {
    "b0": "B0",
    "b0_precision": "B0, compiled and in less precision",
    "b0_dyt_dyl": "B0, LayerNorm beside DyT+DyL",
    "b2": "B2",
    "gpu": "B0 on a GPU",
}


def markdown(result: Mapping[str, Any]) -> str:
    """All tables: the targets, then part by part."""
    lines = ["", *targets(result["targets"])]
    for name, title in TITLES.items():
        if name in result["parts"]:
            lines += part_lines(title, result["parts"][name])
    if "accuracy" in result["parts"]:
        lines += accuracy_lines(result["parts"]["accuracy"])
    return "\n".join(lines) + "\n"


def targets(entries: list[Mapping[str, Any]]) -> list[str]:
    """The table of targets and, under it, where the time of a missed one goes."""
    lines = ["| Target | at | reached | |", "|---|---:|---:|---|"]
    lines += [f"| {e['name']} | {e['wanted_text']} | {e['reached_text']} | {e['verdict']} |" for e in entries]
    lines.append("")
    for entry in entries:
        if entry["operators"]:
            parts = ", ".join(f"{o['type']} {o['ms']:.0f} ms ({100 * o['share']:.0f} %)" for o in entry["operators"])
            lines += [f"Missed: {entry['name']}. {entry['by']} spends its time in {parts}.", ""]
    return lines


def part_lines(title: str, part: Mapping[str, Any]) -> list[str]:
    """One part's rows, its conditions, floors and what was left out."""
    rows, schedule, where = part["rows"], part["schedule"], part["environment"]
    first = rows[0]
    size = "×".join(map(str, first["image_size"]))
    machine = where["gpus"][0] if first["device"] == "cuda" else f"{where['cpu']}, {first['threads']} threads"
    lines = [
        f"### {title}",
        "",
        f"{size}, {machine}, torch {where['packages']['torch']}; {schedule['rounds']} rounds of "
        f"{schedule['passes']} timed passes in turns.",
        "",
        "| Network | engine | precision | out | batch | allocator | median ms | p95 ms | FPS | memory MiB | file MB | "
        "same labels % | × transformers | × roofline |",
        "|---|---|---|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = [
            f"{row['model']}, {row['software']}", row["engine"], row["precision"], row["output"],
            str(row["batch_size"]), row["allocator"], number(row["latency_ms"], 1), number(row["p95_ms"], 1),
            number(row["fps"], 2), number(row["peak_memory_mib"], 0), number(row["file_mb"], 1),
            number(None if row["label_agreement"] is None else 100 * row["label_agreement"], 3),
            number(row["speedup"], 2), number(over_roofline(row, part), 2),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *across_engines(rows), *floor_lines(part)]
    for name, reason in part["skipped"].items():
        lines += [f"Left out: {name}: {reason}.", ""]
    return lines


def over_roofline(row: Mapping[str, Any], part: Mapping[str, Any]) -> float | None:
    """How many times as long as its roofline a pass takes, where that was measured."""
    floors = part.get("floors_ms", {}).get(f"{row['precision']} batch {row['batch_size']}")
    return None if floors is None else row["latency_ms"] / floors["roofline"]


def across_engines(rows: list[Mapping[str, Any]]) -> list[str]:
    """On a GPU, our passes beside transformers' eager and compiled ones of the same batch size."""
    lines = []
    theirs = {(row["engine"], row["batch_size"]): row["fps"] for row in rows if row["software"] == "transformers"}
    for row in rows:
        if row["device"] != "cuda" or row["software"] != "effiseg" or row["output"] != "logits":
            continue
        words = [
            f"{row['fps'] / theirs[engine, row['batch_size']]:.2f}× transformers {name}"
            for engine, name in (("torch", "eager"), ("torch_compile", "compiled"))
            if (engine, row["batch_size"]) in theirs
        ]
        if words:
            lines += [f"Ours in {row['engine']}, batch {row['batch_size']}: {', '.join(words)}.", ""]
    return lines


def floor_lines(part: Mapping[str, Any]) -> list[str]:
    """The machine's rates and the times they allow."""
    if "peaks" not in part:
        return []
    peaks = part["peaks"]
    lines = [f"This machine's best, measured in the same run: copying {peaks['copy_gb_s']:.1f} GB/s."]
    for precision, rates in peaks["gflops"].items():
        lines.append(
            f"In {precision}: matrix products {rates['matmul']:.0f}, convolutions {rates['conv']:.0f}, depthwise "
            f"{rates['depthwise']:.0f} GFLOP/s."
        )
    for name, floors in part["floors_ms"].items():
        lines.append(
            f"Floor of B0, {name}: arithmetic {floors['arithmetic']:.2f} ms; with depthwise convolutions at their own "
            f"rate {floors['by_kind']:.2f} ms; roofline, layer by layer, {floors['roofline']:.2f} ms."
        )
    return [*lines, ""]


def accuracy_lines(part: Mapping[str, Any]) -> list[str]:
    """mIoU per engine and precision."""
    lines = ["### Accuracy per precision", "", "| Engine and precision | mIoU val % | lost |", "|---|---:|---:|"]
    base = part["miou"]["torch float32"]
    lines += [f"| {name} | {value:.2f} | {base - value:.2f} |" for name, value in part["miou"].items()]
    lines.append("")
    for name, reason in part["skipped"].items():
        lines += [f"Left out: {name}: {reason}.", ""]
    return lines


def number(value: float | None, digits: int) -> str:
    """Rounded, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"
