"""The grid of inference: effiseg's networks beside transformers', engine by engine, and the targets they are held to.

    python benchmarks/inference.py                          # all parts: benchmarks/results/inference.json, docs
    python benchmarks/inference.py --only b0,b2             # some parts, the others kept as the file has them
    python benchmarks/inference.py --model RUN --data camvid --data_root DIR    # also int8, and mIoU per precision
    python benchmarks/inference.py --only gpu               # the one command for a machine with a GPU
    python benchmarks/inference.py --quick --json out.json  # tiny sizes: only shows that it runs

Every contender has a process of its own, and they take turns (`effiseg.benchmark.latency`). Weights are random with
randomized norms, the same on both sides; float32 answers are compared before anything is timed. Ratios hold within
a part, because its contenders took turns with each other.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from doc_section import replace_section
from floor import best_peaks, floors_ms
from inference_page import PAGE, markdown
from inference_targets import targets_of
from side_by_side import CLASSES, randomize

from effiseg.benchmark.contender import Contender, counterpart_of
from effiseg.benchmark.latency import Schedule, measure, speedups
from effiseg.config.engine import EngineName, Precision
from effiseg.config.model import Norm, Variant
from effiseg.engines import FILE_ENGINES
from effiseg.environment import available_cores, describe_environment
from effiseg.errors import EffisegError
from effiseg.files import read_json, write_json
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.results import BenchmarkResult

ENGINES = [engine for engine in FILE_ENGINES if not engine.absent_packages()]
"""Engines of files whose packages are installed."""
PARTS = ("b0", "b0_precision", "b0_dyt_dyl", "b2", "accuracy", "gpu")
GPU_BATCHES = (1, 16)
DEFAULT_JSON = Path(__file__).parent / "results" / "inference.json"


@dataclass(frozen=True)
class Setting:
    """What all parts of one run share."""

    folder: Path
    image_size: tuple[int, int]
    threads: int
    quick: bool
    model: str | None
    data: tuple[str, ...]

    def contender(self, name: str, variant: Variant, norms: tuple[Norm, Norm], **fields: Any) -> Contender:
        """A network with random weights, drawn once."""
        source = self.folder / name.replace(" ", "_")
        if not source.exists():
            torch.manual_seed(0)
            model = SegFormer(variant, CLASSES, *norms)
            randomize(model)
            save_pretrained(model, source)
        return Contender(name, str(source), self.image_size, self.threads, **fields)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the parts that are asked for, judge the targets, write the JSON file and the page."""
    options = parse(arguments)
    result: dict[str, Any] = read_json(options.json) if options.json.is_file() else {"parts": {}}
    with tempfile.TemporaryDirectory(prefix="effiseg-inference-") as folder:
        setting = Setting(
            folder=Path(folder),
            image_size=(64, 96) if options.quick else (512, 1024),
            threads=options.threads or available_cores(),
            quick=options.quick,
            model=options.model,
            data=tuple(word for name in ("data", "data_root") if getattr(options, name) is not None
                       for word in (f"--{name}", getattr(options, name))),
        )  # fmt: skip
        for part in options.only:
            print(f"{part} …", file=sys.stderr)
            measured = measure_part(part, setting)
            measured["command"] = shlex.join(["python", "benchmarks/inference.py", *(arguments or sys.argv[1:])])
            measured["environment"] = describe_environment()
            result["parts"][part] = measured
            result["benchmark"], result["quick"] = "inference", options.quick
            result["targets"] = targets_of(result["parts"])
            write_json(options.json, result)
    for target in result["targets"]:
        print(f"{target['verdict']:<12} {target['name']}: {target['reached_text']} (target {target['wanted_text']})")
    print(f"written to {options.json}")
    if options.json.resolve() == DEFAULT_JSON:
        replace_section(PAGE, "inference", markdown(result))
        print(f"written to {PAGE}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; the accuracy part runs only with a model and data, the GPU's only where there is one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", help=f"parts, separated by commas: {', '.join(PARTS)}")
    parser.add_argument("--model", help="run or model folder of a trained B0, for int8 and the accuracies")
    parser.add_argument("--data", help="the data set it is evaluated on")
    parser.add_argument("--data_root")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, two rounds: only shows that it runs")
    parser.add_argument("--json", type=Path, default=DEFAULT_JSON)
    options = parser.parse_args(arguments)
    options.json = options.json.resolve()
    possible = [part for part in PARTS if part != "gpu" or torch.cuda.is_available()]
    if options.model is None or options.data is None:
        possible.remove("accuracy")
    options.only = options.only.split(",") if options.only else possible
    for part in options.only:
        if part not in possible:
            parser.error(
                f"--only {part}: must be one of {', '.join(PARTS)}; accuracy needs --model and --data, gpu a GPU"
            )
    return options


def measure_part(part: str, setting: Setting) -> dict[str, Any]:
    """One part's rows and whatever else belongs to it."""
    match part:
        case "b0":
            floor = Floor(setting, "cpu", ("float32", "bfloat16"))
            measured = timed(b0_contenders(setting), setting, Schedule(4, 2, 2), operators=True)
            return measured | floor.close("b0")
        case "b0_precision":
            return timed(b0_precision_contenders(setting), setting, Schedule(4, 2, 2), operators=True)
        case "b0_dyt_dyl":
            return timed(b0_norm_contenders(setting), setting, Schedule(4, 2, 2))
        case "b2":
            return timed(b2_contenders(setting), setting, Schedule(3, 1, 1))
        case "accuracy":
            return measure_accuracy(setting)
        case "gpu":
            return measure_gpu(setting)
        case _:
            raise AssertionError(part)


def b0_contenders(setting: Setting) -> list[Contender]:
    """B0 with LayerNorms in float32: every engine on both sides, labels, and transformers under both allocators."""
    ours = setting.contender("B0", "b0", ("layer_norm", "layer_norm"))
    theirs = counterpart_of(ours)
    labels = replace(ours, output="labels", engine="openvino")
    if setting.quick:
        return [theirs, ours, labels]
    found = [theirs, replace(theirs, allocator="default"), ours]
    for engine in (known.name for known in ENGINES):
        found += [replace(theirs, engine=engine), replace(ours, engine=engine)]
    return [*found, replace(ours, output="labels"), labels]


def b0_precision_contenders(setting: Setting) -> list[Contender]:
    """What else runs B0 with LayerNorms: less precision and compiled torch, beside transformers eager."""
    ours = setting.contender("B0", "b0", ("layer_norm", "layer_norm"))
    found = [counterpart_of(ours)]
    for network in (
        replace(ours, engine="torch_compile"),
        replace(ours, engine="openvino", precision="bfloat16"),
    ):
        found += [counterpart_of(network), network]
    found += [replace(ours, engine="openvino", precision="bfloat16", output="labels")]
    found += [replace(ours, precision="bfloat16")]
    return [*found, *int8_contenders(setting, ours)]


def int8_contenders(setting: Setting, like: Contender) -> list[Contender]:
    """The trained model quantized by `effiseg export`, for every engine; none without --model and --data."""
    found = []
    for engine in ENGINES:
        path = setting.folder / f"int8{engine.suffix}"
        size = "x".join(map(str, setting.image_size))
        if setting.model and setting.data and export(setting, path, "int8", "--image_size", size):
            found.append(
                replace(like, form="file", engine=engine.name, precision="int8", source=str(path), file=str(path))
            )
    return found


def b0_norm_contenders(setting: Setting) -> list[Contender]:
    """B0 with DyT and DyL beside B0 with LayerNorms, both ours."""
    norms: dict[str, tuple[Norm, Norm]] = {"B0": ("layer_norm", "layer_norm"), "B0 DyT+DyL": ("dyt", "dyl")}
    found = []
    for name, pair in norms.items():
        network = setting.contender(name, "b0", pair)
        found += [network, replace(network, engine="onnxruntime"), replace(network, engine="openvino")]
        found += [replace(network, engine="openvino", precision="bfloat16")]
        found += [replace(network, engine="openvino", output="labels")]
    return found


def b2_contenders(setting: Setting) -> list[Contender]:
    """B2, every engine on both sides, and DyT+DyL in the fastest."""
    ours = setting.contender("B2", "b2", ("layer_norm", "layer_norm"))
    found = []
    engines: tuple[EngineName, ...] = ("torch", *(known.name for known in ENGINES))
    for engine in engines:
        found += [replace(counterpart_of(ours), engine=engine), replace(ours, engine=engine)]
    found += [replace(ours, engine="openvino", precision="bfloat16")]
    found += [setting.contender("B2 DyT+DyL", "b2", ("dyt", "dyl"), engine="openvino")]
    return found


def measure_gpu(setting: Setting) -> dict[str, Any]:
    """B0 in bfloat16, batch by batch: what all contenders of one batch size hold must fit into the GPU at a time."""
    floor = Floor(setting, "cuda", ("bfloat16",))
    single, large = (timed(gpu_contenders(setting, size), setting, Schedule(10, 20, 20)) for size in GPU_BATCHES)
    rows = {"rows": single["rows"] + large["rows"], "skipped": single["skipped"] | large["skipped"]}
    return single | rows | floor.close("b0")


def gpu_contenders(setting: Setting, batch_size: int) -> list[Contender]:
    """B0 in bfloat16, logits and labels: eager and compiled, logits on both sides."""
    ours = setting.contender(
        "B0", "b0", ("layer_norm", "layer_norm"), device="cuda", precision="bfloat16", batch_size=batch_size
    )
    found = []
    engines: tuple[EngineName, ...] = ("torch", "torch_compile")
    for engine in engines:
        network = replace(ours, engine=engine)
        found += [counterpart_of(network), network, replace(network, output="labels")]
    return found


def timed(
    contenders: list[Contender], setting: Setting, schedule: Schedule, *, operators: bool = False
) -> dict[str, Any]:
    """The rows of a part; what cannot be measured here is left out with its reason."""
    skipped: dict[str, str] = {}
    schedule = Schedule(2, 1, 1) if setting.quick else schedule
    rows = measure(
        contenders,
        schedule,
        progress=told_on_stderr(),
        failed=lambda contender, error: skipped.update({contender.name: str(error)}),
        operators=operators,
    )
    speedups(rows)
    result = BenchmarkResult(rows, skipped, vars(schedule), {}, "")
    return result.to_dict()


def told_on_stderr() -> Callable[[int, int], None]:
    """One line that counts, rewritten."""
    return lambda done, total: print(
        f"\r{done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True
    )


class Floor:
    """The machine's best rates, measured before and after a part: the higher of the two counts."""

    def __init__(self, setting: Setting, device: str, precisions: tuple[Precision, ...]) -> None:
        self._setting, self._device, self._precisions = setting, device, precisions
        self._before = self._measure()

    def _measure(self) -> dict[str, Any]:
        command = [sys.executable, str(Path(__file__).parent / "floor.py"), self._device, *self._precisions]
        command += ["--threads", str(self._setting.threads)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(self._setting.threads)}
        answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout
        peaks: dict[str, Any] = json.loads(answer)
        return peaks

    def close(self, variant: Variant) -> dict[str, Any]:
        """The rates and the times that follow from them, for batch 1 and on a GPU for 16."""
        peaks = best_peaks([self._before, self._measure()])
        batches = (1,) if self._device == "cpu" else GPU_BATCHES
        floors = {
            f"{precision} batch {batch}": floors_ms(
                variant, CLASSES, self._setting.image_size, peaks, precision, batch
            )
            for precision in self._precisions
            for batch in batches
        }  # fmt: skip
        return {"peaks": peaks, "floors_ms": floors}


def measure_accuracy(setting: Setting) -> dict[str, Any]:
    """mIoU of the trained model as trained and in every exported precision, as the commands give it."""
    assert setting.model is not None
    found: dict[str, Any] = {"model": setting.model, "miou": {}, "skipped": {}}
    found["miou"]["torch float32"] = evaluated(setting, setting.model)
    for engine in ENGINES:
        for precision in engine.precisions:
            path = setting.folder / f"accuracy-{precision}{engine.suffix}"
            name = f"{engine.name} {precision}"
            if export(setting, path, precision):
                found["miou"][name] = evaluated(setting, str(path))
            else:
                found["skipped"][name] = "effiseg export did not write it"
    return found


def export(setting: Setting, path: Path, precision: Precision, *options: str) -> bool:
    """Whether `effiseg export` wrote the file; what it said instead goes to stderr."""
    assert setting.model is not None
    data = setting.data if precision == "int8" else ()
    done = effiseg("export", setting.model, "--out", str(path), "--precision", precision, *options, *data)
    return done.returncode == 0


def evaluated(setting: Setting, model: str) -> float:
    """mIoU on val, percent."""
    path = setting.folder / "evaluation.json"
    done = effiseg("evaluate", model, *setting.data, "--split", "val", "--device", "cpu", "--json", str(path))
    if done.returncode != 0:
        raise EffisegError(f"{model}: cannot be evaluated")
    return float(json.loads(path.read_text(encoding="utf-8"))["miou"])


def effiseg(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command; its complaints stay visible."""
    return subprocess.run([sys.executable, "-m", "effiseg", *words], stdout=subprocess.DEVNULL, text=True, check=False)


if __name__ == "__main__":
    main()
