"""What `training.json` says, as targets and as the tables of docs/performance/training.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

STEP, END_TO_END, DISTILLATION, MEMORY = "step", "end_to_end", "distillation", "memory"
GPU_TARGET = 3.0
"""effiseg over transformers with loader workers, images a second on a GPU."""


def targets(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Every target beside what was reached; `met` tells whether that is enough."""
    on_gpu = result["device"] == "cuda"
    rows: list[dict[str, Any]] = []

    def add(what: str, case: str, allocator: str, target: float, reached: float, at_most: bool = False) -> None:
        rows.append({
            "what": what, "case": case, "allocator": allocator, "target": target, "at_most": at_most,
            "reached": reached, "met": reached <= target if at_most else reached >= target,
        })  # fmt: skip

    for part, case, allocator, found in leaves(result):
        if part == STEP and not on_gpu:
            add("training step", case, allocator, 2.1, found["speedup"])
        elif part == END_TO_END and not on_gpu:
            add("end to end", case, allocator, 3.0, found["speedup"])
        elif part == END_TO_END:
            for name, rate in found["images_per_second"].items():
                if name.startswith("transformers workers"):
                    reached = found["images_per_second"]["effiseg"] / rate
                    add(f"end to end over {name}", case, allocator, GPU_TARGET, reached)
        elif part == DISTILLATION:
            add("distillation step", case, allocator, 2.4, found["ratio"], at_most=True)
        elif part == MEMORY:
            add("peak memory", case, allocator, 0.8, found["ratio"], at_most=True)
    return rows


def leaves(result: dict[str, Any]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(part, case, allocator, what was measured) of everything measured so far."""
    for part in (STEP, END_TO_END, DISTILLATION, MEMORY):
        for case, by_allocator in result.get(part, {}).items():
            for allocator, found in by_allocator.items():
                yield part, case, allocator, found


def markdown(result: dict[str, Any]) -> str:
    """All tables."""
    sections = [target_table(result), step_table(result), end_to_end_table(result), phase_table(result)]
    return "\n\n".join(section for section in [*sections, machine_line(result)] if section)


def target_table(result: dict[str, Any]) -> str:
    """Target and reached."""
    rows = []
    for row in targets(result):
        sign, met = ("≤", "≥")[not row["at_most"]], "yes" if row["met"] else "**no**"
        rows.append(
            [row["what"], row["case"], row["allocator"], f"{sign} {row['target']:.1f}", f"{row['reached']:.2f}", met]
        )
    return table(["measured (ratio)", "case", "allocator", "target", "reached", "met"], "lllrrl", rows)


def step_table(result: dict[str, Any]) -> str:
    """Milliseconds and images a second of the steps, and peak memory."""
    rows = []
    for part, case, allocator, found in leaves(result):
        if part in (STEP, DISTILLATION):
            names = {"plain": "effiseg, no teacher", "distillation": "effiseg, B2 teaches"}
            for name, milliseconds in found["medians_ms"].items():
                speed = 1000 * found["batch"] / milliseconds
                rows.append([case, allocator, names.get(name, name), f"{milliseconds:.0f}", f"{speed:.2f}", ""])
        elif part == MEMORY:
            for side in ("transformers", "effiseg"):
                rows.append([case, allocator, side, "", "", f"{found[side]['peak_mib']:.0f}"])
    return table(["case", "allocator", "step on equal tensors", "ms", "images/s", "peak MiB"], "lllrrr", rows)


def end_to_end_table(result: dict[str, Any]) -> str:
    """Images a second from full-size PNGs."""
    names = {
        "transformers": "(a) transformers, loading in the main process",
        "transformers workers": "(b) the same with loader workers",
        "effiseg": "(c) effiseg, the same augmentation",
        "effiseg standard": "(c) effiseg, `augment: standard`",
    }
    rows = []
    for part, case, allocator, found in leaves(result):
        if part == END_TO_END:
            first = found["first_epoch_images_per_second"]
            for name, rate in found["images_per_second"].items():
                ratio = rate / found["images_per_second"]["transformers"]
                beginning = f"{first[name]:.2f}" if name in first else ""
                rows.append([case, allocator, names.get(name, name), beginning, f"{rate:.2f}", f"{ratio:.2f}×"])
    return table(
        ["case", "allocator", "from full-size PNGs", "first epoch, images/s", "later", "over (a)"], "lllrrr", rows
    )


def phase_table(result: dict[str, Any]) -> str:
    """Where the time of a step goes, end to end."""
    phases = ("data", "forward", "loss", "backward", "optimizer")
    rows = []
    for part, case, allocator, found in leaves(result):
        if part == END_TO_END:
            for name, spent in found["phases_ms"].items():
                rows.append([case, allocator, name, *(f"{spent[p]:.0f}" if p in spent else "" for p in phases)])
    return table(["case", "allocator", "ms a step", *phases], "lllrrrrr", rows)


def machine_line(result: dict[str, Any]) -> str:
    """The machine, the data and the distance to the roofline."""
    environment, sentences = result["environment"], []
    hardware = ", ".join(environment["gpus"]) if result["device"] == "cuda" else environment["cpu"]
    versions = {**environment["packages"], "transformers": result["transformers"]}
    named = ", ".join(f"{name} {versions[name]}" for name in ("torch", "transformers", "pillow"))
    sentences.append(f"{hardware}, {environment['cores']} cores, {environment['threads']} threads; {named}.")
    data = result.get("data")
    if data:
        sentences.append(
            f"A PNG of {data['image_size'][0]}×{data['image_size'][1]} has {data['png_megabytes']:.1f} MB and takes "
            f"{data['decode_image_opencv_ms']:.0f} ms to decode in OpenCV, {data['decode_image_pillow_ms']:.0f} ms in "
            f"Pillow, its mask {data['decode_mask_pillow_ms']:.0f} ms."
        )
    for precision, rates in result.get("machine", {}).get("gflops", {}).items():
        sentences.append(
            f"In {precision} large dense operators reach {max(rates['matmul'], rates['conv']):.0f} GFLOP/s, depthwise "
            f"convolutions {rates['depthwise']:.0f}."
        )
    if "machine" in result:
        sentences.append(f"Copies reach {result['machine']['copy_gb_s']:.0f} GB/s.")
    for case, contenders in result.get("roofline", {}).items():
        for name, found in contenders.items():
            if "over_roofline" in found:
                sentences.append(
                    f"At {case} the step of {name} does {found['gflops']:.0f} GFLOP/s and takes "
                    f"{found['over_roofline']:.1f} times the roofline's {found['floor_ms']['roofline']:.0f} ms."
                )
    for _, case, _, found in leaves(result):
        if "gpu_busy_share" in found.get("effiseg_loop", {}):
            sentences.append(
                f"At {case} kernels run {100 * found['effiseg_loop']['gpu_busy_share']:.0f} % of the time."
            )
    return " ".join(sentences)


def table(head: list[str], alignment: str, rows: list[list[str]]) -> str:
    """A Markdown table; "" without rows."""
    if not rows:
        return ""
    rule = ["---:" if letter == "r" else "---" for letter in alignment]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *rows])
