"""`effiseg benchmark`: how fast models are, in the engines that run them, in turns."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from effiseg.config.benchmark import BenchmarkConfig
from effiseg.config.command_line import parse_command
from effiseg.progress import progress_bar

if TYPE_CHECKING:
    from effiseg.results import BenchmarkResult, BenchmarkRow

WIDTH = 100
"""Columns of the table at least; a table cut to the width of a pipe or a narrow window would hide its figures."""


@dataclass(kw_only=True)
class Options(BenchmarkConfig):
    """Settings of `effiseg benchmark`."""

    json: str | None = None
    """File to write all results to, with every sample."""


def run(argv: list[str]) -> int:
    """Parse, measure, print the table, write the JSON file."""
    options = parse(argv)
    from effiseg.benchmark.run import run_benchmark
    from effiseg.files import require_place, write_json

    if options.json is not None:
        require_place(options.json)
    with progress_bar("measuring") as progress:
        result = run_benchmark(options, shlex.join(["effiseg", "benchmark", *argv]), progress)
    print_result(result)
    if options.json is not None:
        write_json(options.json, result.to_dict())
        print(f"results: {options.json}")
    return 0


def parse(argv: list[str]) -> Options:
    """The options.

    Raises:
        UsageError: what is wrong, in one line.
    """
    return parse_command(
        Options,
        argv,
        prog="effiseg benchmark",
        description="Latency, memory, size and work of models in the engines that run them. Every contender has a "
        "process of its own; they take turns, and float32 contenders must compute what the model computes.",
        words=("models",),
    )


def print_result(result: BenchmarkResult) -> None:
    """The table, what was left out, and under which conditions it was measured."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    compared = any(row.speedup is not None for row in result.rows)
    published = any(row.published_miou is not None for row in result.rows)
    table = Table(box=box.SIMPLE, padding=0, collapse_padding=True)
    table.add_column("contender", overflow="fold")
    headings = ["median\nms", "p95\nms", "\nFPS", "memory\nMiB", "params\nM", "\nGMACs", "+ atten-\ntion"]
    headings += ["file\nMB", "same\nlabels %", *(["× trans-\nformers"] if compared else [])]
    headings += ["published\nmIoU", "\nfront"] if published else []
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    shared = shared_words([row.name for row in result.rows])
    if shared:
        console.print(" ".join(shared), markup=False)
    for row in result.rows:
        name = " ".join(word for word in row.name.split(" ") if word not in shared) or row.name
        further = [number(row.speedup)] if compared else []
        further += [number(row.published_miou), "✓" if row.on_front else ""] if published else []
        table.add_row(f"{name} ", *cells(row), *further)
    console.print(table, markup=False)
    if published:
        from effiseg.benchmark.family import PUBLISHED_PROTOCOL

        console.print(
            f"published mIoU: {PUBLISHED_PROTOCOL}; front: none in the same engine and precision is at least as "
            "accurate and faster",
            markup=False,
        )
    for name, reason in result.skipped.items():
        console.print(f"left out: {name}: {reason}", markup=False)
    console.print(conditions(result), markup=False)


def shared_words(names: Sequence[str]) -> list[str]:
    """Words that stand in every one of several names, in order: they would only repeat themselves down the table."""
    words = [name.split(" ") for name in names]
    return [word for word in words[0] if all(word in other for other in words)] if len(names) > 1 else []


def cells(row: BenchmarkRow) -> list[str]:
    """One row's figures."""
    return [
        number(row.latency_ms, 1),
        number(row.p95_ms, 1),
        number(row.fps),
        number(row.peak_memory_mib, 0),
        number(None if row.params is None else row.params / 1e6),
        number(row.gmacs),
        number(row.gmacs_attention),
        number(row.file_mb, 1),
        number(None if row.label_agreement is None else 100 * row.label_agreement, 3),
    ]


def number(value: float | None, digits: int = 2) -> str:
    """Rounded, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def conditions(result: BenchmarkResult) -> str:
    """The conditions of the figures, in one line."""
    row, where = result.rows[0], result.environment
    machine = where["gpus"][0] if row.device == "cuda" and where["gpus"] else f"{where['cpu']}, {row.threads} threads"
    allocators = "/".join(sorted({row.allocator for row in result.rows}))
    schedule = result.schedule
    return (
        f"{row.image_size[0]}x{row.image_size[1]}, batch {row.batch_size}, {machine}, allocator {allocators}; "
        f"{schedule['rounds']} rounds of {schedule['passes']} passes in turns; torch {where['packages']['torch']}"
    )
