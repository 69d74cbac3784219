"""`effiseg benchmark`: how fast models are, in the engines that run them, in turns."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, get_args

from effiseg.commands.arguments import CommandParser, positive
from effiseg.config.data import parse_image_size
from effiseg.config.engine import EngineName, Output, Precision
from effiseg.config.training import Device
from effiseg.engines import MODEL_SUFFIXES
from effiseg.errors import UsageError
from effiseg.progress import progress_bar

if TYPE_CHECKING:
    from effiseg.results import BenchmarkResult, BenchmarkRow

_OLD_PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Words that are understood for one release."""
DEFAULT_SIZE = (512, 1024)
WIDTH = 170


def run(argv: list[str]) -> int:
    """Parse, measure, print the table, write the JSON file."""
    options = parse(argv)
    from effiseg.benchmark.contender import contenders_of
    from effiseg.benchmark.latency import Schedule, measure, speedups
    from effiseg.environment import available_cores, describe_environment, resolve_device
    from effiseg.files import write_json
    from effiseg.results import BenchmarkResult

    common = {
        "image_size": options.image_size,
        "batch_size": options.batch_size,
        "threads": options.threads or available_cores(),
        "device": resolve_device(options.device),
        "output": options.output,
    }
    contenders, skipped = contenders_of(
        options.models, options.engine, options.precision, common, against_transformers=options.against is not None
    )
    schedule = Schedule(rounds=options.rounds, passes=options.passes, warmup=options.warmup)
    with progress_bar("measuring") as progress:
        rows = measure(contenders, schedule, progress=progress)
    speedups(rows)
    result = BenchmarkResult(
        rows=rows,
        skipped={entry.name: entry.reason for entry in skipped},
        schedule={"rounds": schedule.rounds, "passes": schedule.passes, "warmup": schedule.warmup},
        environment=describe_environment(),
        command=shlex.join(["effiseg", "benchmark", *argv]),
    )
    print_result(result)
    if options.json is not None:
        write_json(options.json, result.to_dict())
        print(f"results: {options.json}")
    return 0


def parse(argv: list[str]) -> argparse.Namespace:
    """The options.

    Raises:
        UsageError: what is wrong, in one line.
    """
    parser = CommandParser(
        prog="effiseg benchmark",
        description="Latency, memory, size and work of models in the engines that run them. Every contender has a "
        "process of its own; they take turns, and float32 contenders must compute what the model computes.",
    )
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL", help="run folder, model folder, transformers folder or Hub id (measured "
        f"in the deploy form), or an exported file, {MODEL_SUFFIXES}, which runs in its own engine")  # fmt: skip
    add("--image_size", type=parse_image_size, default=DEFAULT_SIZE, metavar="HxW", help="network input "
        "(default: 512x1024)")  # fmt: skip
    add("--batch_size", type=positive, default=1, metavar="N", help="images of one pass (default: 1)")
    add("--device", choices=get_args(Device), default="auto", help="auto takes a GPU where there is one")
    add("--threads", type=positive, metavar="N", help="threads of every engine on the CPU (default: all cores)")
    add("--engine", type=choices_of(get_args(EngineName)), default=["torch"], metavar="LIST", help="engines, "
        f"separated by commas: {', '.join(get_args(EngineName))} (default: torch)")  # fmt: skip
    add("--precision", type=choices_of(get_args(Precision), _OLD_PRECISIONS), default=["float32"], metavar="LIST",
        help=f"separated by commas: {', '.join(get_args(Precision))} (default: float32; int8 only as a file of "
        "effiseg export --precision int8)")  # fmt: skip
    add("--output", choices=get_args(Output), default="logits", help="logits at a quarter of the input's size "
        "(default), or labels at its size")  # fmt: skip
    add("--against", choices=("transformers",), help="also time the same weights in transformers' SegFormer, in the "
        "same engines, and print how many times as fast ours are")  # fmt: skip
    add("--rounds", type=positive, default=5, metavar="N", help="turns of every contender (default: 5)")
    add("--passes", type=positive, default=4, metavar="N", help="timed passes of a turn (default: 4)")
    add("--warmup", type=positive, default=3, metavar="N", help="passes before the first turn (default: 3)")
    add("--json", metavar="FILE", help="also write all results, with every sample")
    options = parser.parse([_in_new_words(word) for word in argv])
    for word in options.models:
        if word.startswith("-"):
            raise UsageError(f"unknown option {word!r} (see effiseg benchmark --help)")
    return options


def _in_new_words(word: str) -> str:
    """The word, --engine for --runtime, which is understood for one release."""
    name, equals, value = word.partition("=")
    if name != "--runtime":
        return word
    _tell("--runtime", "--engine")
    return f"--engine{equals}{value}"


def _tell(old: str, new: str) -> None:
    print(f"effiseg benchmark: {old} is now {new}", file=sys.stderr)


def choices_of(known: Sequence[str], old: Mapping[str, str] | None = None) -> Callable[[str], list[str]]:
    """The argument type of a list separated by commas, each once, all of them known.

    Args:
        known: the words.
        old: former word → the one that replaces it.
    """

    def words(text: str) -> list[str]:
        found = [word.strip() for word in text.split(",")]
        for former in sorted(set(found) & set(old or ())):
            _tell(f"--precision {former}", f"--precision {(old or {})[former]}")
        found = [(old or {}).get(word, word) for word in found]
        for word in found:
            if word not in known:
                raise argparse.ArgumentTypeError(f"must be of {', '.join(known)}, separated by commas; found {word!r}")
        return list(dict.fromkeys(found))

    return words


def print_result(result: BenchmarkResult) -> None:
    """The table, what was left out, and under which conditions it was measured."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    # A table cut to the width of a pipe or a narrow window would hide its figures.
    console.width = max(console.width, WIDTH)
    compared = any(row.speedup is not None for row in result.rows)
    table = Table(box=box.SIMPLE)
    table.add_column("contender", no_wrap=True)
    headings = [
        "median ms",
        "p95 ms",
        "FPS",
        "memory MiB",
        "params M",
        "GMACs",
        "+ attention",
        "file MB",
        "same labels",
    ]
    for heading in [*headings, *(["× transformers"] if compared else [])]:
        table.add_column(heading, justify="right", no_wrap=True)
    models = {row.model for row in result.rows}
    if len(models) == 1:
        console.print(result.rows[0].model, markup=False)
    for row in result.rows:
        # One model's name would only repeat itself down the table.
        name = row.name.removeprefix(f"{row.model} ") if len(models) == 1 else row.name
        table.add_row(name, *cells(row), *([number(row.speedup)] if compared else []))
    console.print(table, markup=False)
    for name, reason in result.skipped.items():
        console.print(f"left out: {name}: {reason}", markup=False)
    console.print(conditions(result), markup=False)


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
        "–" if row.label_agreement is None else f"{100 * row.label_agreement:.3f} %",
    ]


def number(value: float | None, digits: int = 2) -> str:
    """Rounded, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def conditions(result: BenchmarkResult) -> str:
    """What the figures hold for, in one line."""
    row, where = result.rows[0], result.environment
    machine = where["gpus"][0] if row.device == "cuda" and where["gpus"] else f"{where['cpu']}, {row.threads} threads"
    allocators = "/".join(sorted({row.allocator for row in result.rows}))
    schedule = result.schedule
    return (
        f"{row.image_size[0]}x{row.image_size[1]}, batch {row.batch_size}, {machine}, allocator {allocators}; "
        f"{schedule['rounds']} rounds of {schedule['passes']} passes in turns; torch {where['packages']['torch']}"
    )
