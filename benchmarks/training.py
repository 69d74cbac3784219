"""Training beside the published way of doing it: steps, images a second from full-size PNGs, memory, distillation.

    python benchmarks/training.py                  # all of it, 8 minutes on two cores: benchmarks/results/training.json
    python benchmarks/training.py --only step --cases 256x512      # one part; the rest of the JSON file stays
    python benchmarks/training.py --device cuda    # 512x1024, batch 16, bfloat16, compiled: training-cuda.json
    python benchmarks/training.py --markdown       # the tables of docs/performance/training.md, from the JSON file
    python benchmarks/training.py --quick --json out.json          # tiny sizes: only shows that it runs

(a) transformers' SegFormer-B0 with its own loss in a plain loop: float32, torch's AdamW as it comes, Pillow in the
main process, flipped and shifted as the paper's published code does; (b) the same with loader workers; (c) effiseg:
its task, its optimizer, its loaders and its cache. For steps both sides hold equal weights, get equal tensors, run
without dropout and stochastic depth, and their losses are asserted equal first. End to end (c) is `effiseg train`
itself, its rate read from its metrics.csv, with the augmentation of (a); all sides take their usual dropout. Every
measurement has a process of its own, in which both sides take turns under the same allocator.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from photographs import describe_pairs, make_pairs
from side_by_side import TRANSFORMERS_VARIANTS, run_alone
from training_end_to_end import measure_end_to_end
from training_parts import Measurement, measure_distillation, measure_machine, measure_memory, measure_step, roofline
from training_table import DISTILLATION, END_TO_END, MEMORY, STEP, markdown, targets

from effiseg.environment import available_cores, describe_environment
from effiseg.files import read_json, write_json

PARTS = ("machine", STEP, DISTILLATION, MEMORY, END_TO_END)
RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write the JSON file after every part, print the tables."""
    options = parse(arguments)
    if options.markdown:
        print(markdown(read_json(options.json)))
        return
    command = shlex.join(["python", "benchmarks/training.py", *(sys.argv[1:] if arguments is None else arguments)])
    result = begin(options)
    with tempfile.TemporaryDirectory(prefix="effiseg-benchmark-") as temporary:
        folder = options.data_folder or Path(temporary)
        for case, measurement in cases(options).items():
            if options.cases and case not in options.cases:
                continue
            for part in options.only or PARTS:
                start = time.perf_counter()
                run_part(part, case, measurement, result, folder, options)
                seconds = round(time.perf_counter() - start, 1)
                result["commands"][f"{part} {case}"] = {"command": command, "seconds": seconds}
                result["targets"] = targets(result)
                write_json(options.json, result)
                print(f"{part} {case}: {seconds} s", file=sys.stderr)
    print(markdown(result))
    print(f"\nwritten to {options.json}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, help="these parts; all without it")
    parser.add_argument("--cases", nargs="+", metavar="HxW", help="these input sizes; all without it")
    parser.add_argument("--allocator", choices=("tuned", "default", "both"), default="both",
                        help="of both sides; both: the tuned one, and the default for steps and memory")  # fmt: skip
    parser.add_argument("--variant", choices=TRANSFORMERS_VARIANTS, default="b0")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), help="of effiseg end to end and of extra rows")
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=None, help="with --precision's rows"
    )
    parser.add_argument("--threads", type=int, default=0, help="0: torch's choice")
    parser.add_argument(
        "--workers", type=int, default=0, help="loader processes of both sides; 0: the cores, at most 16"
    )
    parser.add_argument("--steps", type=int, help="timed steps of every contender")
    parser.add_argument("--rounds", type=int, help="turns of every contender's epochs")
    parser.add_argument("--pairs", type=int, help="image and mask pairs of an epoch")
    parser.add_argument("--data-folder", type=Path, help="keeps the PNGs there; a temporary folder without it")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only shows that it runs")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", action="store_true", help="only print the tables of --json")
    options = parser.parse_args(arguments)
    on_gpu = options.device == "cuda"
    options.json = options.json or RESULTS / ("training-cuda.json" if on_gpu else "training.json")
    options.precision = options.precision or ("bfloat16" if on_gpu else "float32")
    options.compile = on_gpu if options.compile is None else options.compile
    return options


def begin(options: argparse.Namespace) -> dict[str, Any]:
    """What stands beside the measurements; the file's earlier parts, if only some are measured on the same machine."""
    facts = {
        "benchmark": "training",
        "quick": options.quick,
        "variant": options.variant,
        "device": options.device,
        "precision": options.precision,
        "compile": options.compile,
        "transformers": metadata.version("transformers"),
        "environment": describe_environment(),
    }
    if not (options.only or options.cases) or not options.json.is_file():
        return facts | {"commands": {}}
    earlier: dict[str, Any] = read_json(options.json)
    differing = [name for name, value in facts.items() if name != "environment" and earlier.get(name) != value]
    machine = ("cpu", "gpus", "cores", "threads")
    differing += [name for name in machine if earlier["environment"][name] != facts["environment"][name]]
    if differing:
        raise SystemExit(f"{options.json}: was measured with other {', '.join(differing)}; choose another --json")
    return earlier


def cases(options: argparse.Namespace) -> dict[str, Measurement]:
    """The measurements by the name of their input size."""
    common: dict[str, Any] = {
        "allocator": "default" if options.allocator == "default" else "tuned",
        "variant": options.variant,
        "device": options.device,
        "precision": options.precision,
        "compile": options.compile,
        "threads": options.threads,
        "workers": options.workers or min(16, available_cores()),
    }
    for name in ("steps", "rounds"):
        if getattr(options, name):
            common[name] = getattr(options, name)
    if options.quick:
        common |= {"steps": 2, "rounds": 1, "warmup": 1, "epochs": 3, "teacher": "b1", "workers": 1, "extras": True}
        found = [Measurement((64, 128), 2, 4, **common)]
    elif options.device == "cuda":
        found = [Measurement((512, 1024), 16, 192, **{"steps": 30, "warmup": 5, "extras": True} | common)]
    else:
        found = [
            Measurement((256, 512), 4, 20, **{"extras": True} | common),
            Measurement((512, 1024), 2, 8, **{"steps": 5, "warmup": 1, "epochs": 3} | common),
        ]
    if options.pairs:
        found = [replace(measurement, pairs=options.pairs) for measurement in found]
    return {f"{m.size[0]}x{m.size[1]}": m for m in found}


def run_part(
    part: str, case: str, measurement: Measurement, result: dict[str, Any], folder: Path, options: argparse.Namespace
) -> None:
    """Add one part of one case to the result."""
    run = run_here if options.quick else run_alone  # processes take seconds to import everything
    if part == "machine":
        if "machine" not in result:
            result["machine"] = run(measure_machine, measurement)
        return
    if part == END_TO_END:
        original = (128, 256) if options.quick else (1024, 2048)
        data = make_pairs(folder / f"{original[0]}x{original[1]}", measurement.pairs, original)
        result["data"] = {"image_size": list(original)} | describe_pairs(data.parent, measurement.pairs)
        found = run(measure_end_to_end, replace(measurement, data=str(data)))
        result.setdefault(part, {}).setdefault(case, {})[measurement.allocator] = found
        return
    both = options.allocator == "both" and measurement.extras and options.device == "cpu" and part != DISTILLATION
    losses = None
    for allocator in ("tuned", "default") if both else (measurement.allocator,):
        one = replace(measurement, allocator=allocator)
        if part == STEP:
            found = run(measure_step, one, losses)
            losses = found["equal_losses"]
        elif part == DISTILLATION:
            found = run(measure_distillation, one)
        else:
            found = {side: run_alone(measure_memory, one, side) for side in ("transformers", "effiseg")}
            found["ratio"] = found["effiseg"]["peak_mib"] / found["transformers"]["peak_mib"]
        result.setdefault(part, {}).setdefault(case, {})[allocator] = found
    if part == STEP and "machine" in result:
        medians = result[STEP][case][measurement.allocator]["medians_ms"]
        result.setdefault("roofline", {})[case] = roofline(measurement, result["machine"], medians)


def run_here(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """The result of a function, as `run_alone` gives it."""
    return function(*arguments)


if __name__ == "__main__":
    main()
