"""What inference is held to, judged from the rows of benchmarks/results/inference.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]
MOST_LOST_POINTS = 0.5
LEAST_AGREEMENT = 0.9999


def targets_of(parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every target: name, wanted, reached, verdict (met, missed, not measured) and, if missed, the top operators.

    Args:
        parts: the file's parts; those that were not measured may be missing.
    """
    part = parts.get("b0", {})
    rows: list[Row] = part.get("rows", [])
    default = find(rows, software="transformers", engine="torch", precision="float32", allocator="default")
    pairs = [
        ("fused eager vs transformers eager, float32", "torch", 2.6),
        ("ONNX Runtime, ours vs transformers' file, float32", "onnxruntime", 1.75),
        ("OpenVINO, ours vs transformers' file, float32", "openvino", 1.5),
    ]
    found = []
    for name, engine, wanted in pairs:
        mine = logits(rows, engine)
        other = find(rows, software="transformers", engine=engine, precision="float32", allocator="tuned")
        found.append(at_least(name, wanted, other, mine))
    exact = [
        row for row in rows
        if row["software"] == "effiseg" and row["precision"] == "float32" and row["output"] == "logits"
        and (row["label_agreement"] or 0) >= LEAST_AGREEMENT
    ]  # fmt: skip
    found.append(
        at_least("fastest exact form vs transformers eager under the default allocator", 5.0, default, fastest(exact))
    )
    precise: list[Row] = parts.get("b0_precision", {}).get("rows", [])
    accurate = [
        row for row in precise
        if row["software"] == "effiseg" and row["output"] == "logits" and keeps_accuracy(row, parts.get("accuracy"))
    ]  # fmt: skip
    found.append(
        at_least(
            f"fastest precision that loses at most {MOST_LOST_POINTS} points of mIoU vs transformers eager",
            6.0,
            find(precise, software="transformers", engine="torch", precision="float32"),
            fastest(accurate) if "accuracy" in parts else None,
        )
    )
    plain, labels = logits(rows, "openvino"), find(rows, engine="openvino", precision="float32", output="labels")
    found.append(at_most("labels out over logits out, OpenVINO float32", 1.10, labels, plain))
    floor = part.get("floors_ms", {}).get("float32 batch 1", {}).get("arithmetic")
    found.append(at_most("OpenVINO float32 over the arithmetic's floor", 1.8, plain, floor))
    return found


def find(rows: list[Row], **wanted: Any) -> Row | None:
    """The first row with these values."""
    return next((row for row in rows if all(row[key] == value for key, value in wanted.items())), None)


def logits(rows: list[Row], engine: str) -> Row | None:
    """Our float32 row of an engine, logits out."""
    return find(rows, software="effiseg", engine=engine, precision="float32", output="logits")


def fastest(rows: list[Row]) -> Row | None:
    """The row of the shortest median."""
    return min(rows, key=lambda row: float(row["latency_ms"]), default=None)


def keeps_accuracy(row: Row, accuracy: Mapping[str, Any] | None) -> bool:
    """Whether the trained model in this engine and precision keeps the mIoU that it has as trained."""
    if accuracy is None:
        return False
    found = accuracy["miou"].get(f"{row['engine']} {row['precision']}")
    return found is not None and found >= accuracy["miou"]["torch float32"] - MOST_LOST_POINTS


def at_least(name: str, wanted: float, slow: Row | None, fast: Row | None) -> dict[str, Any]:
    """A ratio of medians that must not be lower."""
    ratio = None if slow is None or fast is None else slow["latency_ms"] / fast["latency_ms"]
    return judged(name, wanted, ratio, ratio is not None and ratio >= wanted, f"≥ {wanted:g}×", fast)


def at_most(name: str, wanted: float, row: Row | None, base: Row | float | None) -> dict[str, Any]:
    """A ratio of a median to another, or to a time, that must not be higher."""
    milliseconds = base if base is None or isinstance(base, int | float) else base["latency_ms"]
    ratio = None if row is None or milliseconds is None else row["latency_ms"] / milliseconds
    return judged(name, wanted, ratio, ratio is not None and ratio <= wanted, f"≤ {wanted:g}×", row)


def judged(
    name: str, wanted: float, ratio: float | None, holds: bool, wanted_text: str, row: Row | None
) -> dict[str, Any]:
    """One line of the table of targets."""
    verdict = "not measured" if ratio is None else "met" if holds else "missed"
    return {
        "name": name,
        "wanted": wanted,
        "wanted_text": wanted_text,
        "reached": ratio,
        "reached_text": "–" if ratio is None else f"{ratio:.2f}×",
        "verdict": verdict,
        "by": None if row is None else row["name"],
        "operators": row["operators"][:6] if row is not None and verdict == "missed" else [],
    }
