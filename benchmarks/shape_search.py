"""Shapes that are fast here: a grid of them with random weights, timed in turns, and their Pareto front.

    python benchmarks/shape_search.py --image_size 512x1024 --threads 1 --seconds 120 --out shapes.json

Every shape in its deploy form runs in OpenVINO (float32, bfloat16) and ONNX Runtime (float32), batch 1, uint8 in,
logits out, all in one process and in turns, first to last and back. On a machine that does other things too,
milliseconds mean little: a shape's ratio is the median, over the turns, of its time over that of `--base` in the same
turn; with one thread it is the processor's time that counts, of which other programs take nothing away. Accuracy is not
known here; the front holds shapes that no shape of as many multiply-accumulates undercuts in all engines.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from effiseg.benchmark.complexity import complexity
from effiseg.config.data import parse_image_size
from effiseg.config.engine import EngineName, Precision
from effiseg.engines import engine_named
from effiseg.engines.engine import FileEngine, LoadedModel
from effiseg.environment import available_cores, describe_environment
from effiseg.export.writing import write_file
from effiseg.files import write_json
from effiseg.models.segformer import SegFormer
from effiseg.models.shape import SHAPES, Four, Shape, StageKind

CLASSES = 19
RUNNERS: tuple[tuple[EngineName, Precision], ...] = (
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("onnxruntime", "float32"),
)
WIDTHS: tuple[Four, ...] = ((16, 32, 96, 192), (16, 48, 96, 192), (16, 48, 128, 256), (32, 64, 128, 256))
DEPTHS: tuple[Four, ...] = ((1, 2, 2, 2), (2, 2, 2, 2))
CONV_STAGES = (0, 1, 2, 3)
"""How many of the first stages are made of convolutions."""
_HEAD_WIDTH = 32


def grid() -> dict[str, Shape]:
    """The shapes by name: `WIDTHS` × `DEPTHS` × `CONV_STAGES` at stride 8, and the named sizes up to B0."""
    found: dict[str, Shape] = {name: SHAPES[name] for name in ("n", "s", "b0")}
    for widths, depths, convs in itertools.product(WIDTHS, DEPTHS, CONV_STAGES):
        shape = shape_of_grid(widths, depths, convs)
        if shape not in found.values():
            label = f"{'/'.join(map(str, widths))} depths {'/'.join(map(str, depths))} conv {convs}"
            found[label] = shape
    return found


def shape_of_grid(widths: Four, depths: Four, convs: int) -> Shape:
    """One shape: its first `convs` stages of convolutions, attention in heads of 32 channels or one in all."""
    kinds: list[StageKind] = ["conv" if stage < convs else "attention" for stage in range(4)]
    attends = [kind == "attention" for kind in kinds]
    heads = [
        width // _HEAD_WIDTH if on and width % _HEAD_WIDTH == 0 else 1
        for width, on in zip(widths, attends, strict=True)
    ]
    reductions = [reduction if on else 1 for reduction, on in zip((16, 8, 4, 1), attends, strict=True)]
    ratios = (2 if widths[0] > 16 and convs else 4, 4, 4, 4)
    return Shape(widths, depths, tuple(heads), tuple(reductions), ratios, tuple(kinds), 128, 8)  # type: ignore[arg-type]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write the results."""
    options = _parser().parse_args(arguments)
    size = parse_image_size(options.image_size)
    shapes = {
        name: shape
        for name, shape in grid().items()
        if options.only is None or options.only in name or name == options.base
    }
    if options.base not in shapes:
        raise SystemExit(f"--base must be one of {', '.join(grid())}; found {options.base}")
    times = measure(shapes, size, options.threads, options.seconds)
    rows = [_row(name, shape, size, times, options.base) for name, shape in shapes.items()]
    mark_front(rows)
    for row in sorted(rows, key=lambda row: float(row["ratios"]["openvino float32"])):
        ratios = "  ".join(f"{runner} {ratio:.2f}" for runner, ratio in row["ratios"].items())
        print(f"{'*' if row['front'] else ' '} {row['params_m']:.2f} M {row['gmacs']:.2f} G  {ratios}  {row['name']}")
    write_json(
        options.out,
        {
            "command": [Path(sys.argv[0]).name, *(sys.argv[1:] if arguments is None else arguments)],
            "environment": describe_environment(),
            "image_size": list(size),
            "threads": options.threads,
            "clock": "processor" if options.threads == 1 else "wall",
            "base": options.base,
            "rows": rows,
        },
    )


def measure(
    shapes: dict[str, Shape], size: tuple[int, int], threads: int, seconds: float
) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of every turn by runner and shape, at least two: the faster of two passes behind an untimed one."""
    images = np.random.default_rng(0).integers(0, 256, (1, *size, 3), dtype=np.uint8)
    times: dict[str, dict[str, list[float]]] = {}
    clock = time.process_time if threads == 1 else time.perf_counter
    with tempfile.TemporaryDirectory() as folder:
        loaded = {
            (f"{engine} {precision}", name): _load(shape, size, Path(folder) / f"{index}", engine, precision, threads)
            for index, (name, shape) in enumerate(shapes.items())
            for engine, precision in RUNNERS
        }
        end, turn = time.perf_counter() + seconds, 0
        while turn < 2 or time.perf_counter() < end:
            for runner, name in list(loaded)[:: -1 if turn % 2 else 1]:
                run = loaded[runner, name]
                run(images)
                times.setdefault(runner, {}).setdefault(name, []).append(
                    min(_timed(run, images, clock) for _ in range(2))
                )
            turn += 1
    return times


def _load(
    shape: Shape, size: tuple[int, int], stem: Path, name: EngineName, precision: Precision, threads: int
) -> LoadedModel:
    engine = engine_named(name)
    assert isinstance(engine, FileEngine)
    path = stem.with_suffix(engine.suffix)
    if not path.exists():
        torch.manual_seed(0)
        write_file(SegFormer(shape, CLASSES).eval(), path, engine, input_size=size)
    return engine.load(path, threads=threads, precision=precision)


def _timed(run: LoadedModel, images: Any, clock: Callable[[], float]) -> float:
    start = clock()
    run(images)
    return 1000 * (clock() - start)


def _row(
    name: str, shape: Shape, size: tuple[int, int], times: dict[str, dict[str, list[float]]], base: str
) -> dict[str, Any]:
    work = complexity(shape, CLASSES, size)
    return {
        "name": name,
        "shape": shape.name,
        "params_m": work.params / 1e6,
        "gmacs": work.gmacs_composed + work.gmacs_attention,
        "ratios": {
            runner: median(own / other for own, other in zip(found[name], found[base], strict=True))
            for runner, found in times.items()
        },
        "samples_ms": {runner: found[name] for runner, found in times.items()},
    }


def mark_front(rows: Sequence[dict[str, Any]]) -> None:
    """Set `front`: false for a shape where another has as many multiply-accumulates and is faster in every runner."""
    for row in rows:
        row["front"] = not any(
            other is not row
            and other["gmacs"] >= row["gmacs"]
            and all(other["ratios"][runner] < ratio for runner, ratio in row["ratios"].items())
            for other in rows
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--image_size", default="512x1024", help="HEIGHTxWIDTH")
    parser.add_argument("--threads", type=int, default=available_cores(), help="of every engine")
    parser.add_argument("--seconds", type=float, default=200.0, help="of timing, after the files are written")
    parser.add_argument("--base", default="n", help="what others are divided by")
    parser.add_argument("--only", help="shapes whose name holds this text, and the base")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    return parser


if __name__ == "__main__":
    main()
