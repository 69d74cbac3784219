"""Seconds until `effiseg train` says its first line, has done its first step, and is longest silent.

    python benchmarks/startup.py                        # benchmarks/results/startup.json
    python benchmarks/startup.py --json out.json --runs 1

A run of two steps of B0 on sixteen small street scenes, in a process of its own whose output is read as it comes. What
nobody needs to train (the test oracles and engines of the development environment) is hidden from that process, because
some libraries import whatever they find. Processor seconds stand beside: on a busy machine they say what is the
process's own.
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

from effiseg.environment import describe_environment
from effiseg.files import write_json
from effiseg.scenes.synthetic import synthesize

DEFAULT_JSON = Path(__file__).parent / "results" / "startup.json"
TARGETS = {"first_line": 1.0, "first_step": 6.0, "longest_silence": 2.0}
HIDDEN = (
    "transformers", "monai", "cityscapesscripts", "scipy", "sklearn", "pandas", "onnx", "onnxscript", "onnxruntime",
    "openvino", "nncf", "tensorboard", "tokenizers",
)  # fmt: skip
HIDING = f"""
import importlib.metadata as metadata, sys
from importlib.machinery import PathFinder
HIDDEN = {HIDDEN!r}
class Hide:
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] in HIDDEN else PathFinder.find_spec(name, path, target)
    invalidate_caches = PathFinder.invalidate_caches
sys.meta_path[:] = [Hide if finder is PathFinder else finder for finder in sys.meta_path]
from_name = metadata.Distribution.from_name
def hidden_from_name(name):
    if name.lower().replace("_", "-") in HIDDEN:
        raise metadata.PackageNotFoundError(name)
    return from_name(name)
metadata.Distribution.from_name = hidden_from_name
"""


def main() -> int:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, default=DEFAULT_JSON)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="effiseg-startup-") as place:
        folder = Path(place)
        synthesize(folder / "scenes", {"train": 16, "val": 4}, 64, 128, seed=0)
        (folder / "hiding").mkdir()
        (folder / "hiding" / "sitecustomize.py").write_text(HIDING, encoding="utf-8")
        runs = [timed_run(folder, number) for number in range(arguments.runs)]
    found = {name: median(run[name] for run in runs) for name in runs[0]}
    for name, seconds in found.items():
        target = f" (target {TARGETS[name]:g})" if name in TARGETS else ""
        print(f"{name.replace('_', ' ')}: {seconds:.2f} s{target}")
    command = shlex.join(["python", *sys.argv])
    result = {"median": found, "runs": runs, "targets": TARGETS, "environment": describe_environment()}
    write_json(arguments.json, {"command": command, "load_average": os.getloadavg()[0], **result})
    return 0


def timed_run(folder: Path, number: int) -> dict[str, float]:
    """Seconds of one run, by what happened."""
    words = [
        "train", "--data", "street_scenes", "--data_root", str(folder / "scenes"),
        "--out", str(folder / f"run{number}"), "--image_size", "64x128", "--batch_size", "8", "--steps", "2",
        "--device", "cpu",
    ]  # fmt: skip
    source = str(Path(__file__).parents[1] / "src")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "hiding"), source])}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "effiseg", *words], stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True,
        env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    lines: list[tuple[float, str]] = []
    for line in process.stdout:
        lines.append((time.monotonic() - started, line))
    if process.wait() != 0:
        raise SystemExit("".join(line for _, line in lines))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    times = [0.0, *(at for at, _ in lines)]
    return {
        "first_line": lines[0][0],
        "first_step": next(at for at, line in lines if " · epoch 1/" in line),
        "longest_silence": max(later - earlier for earlier, later in pairwise(times)),
        "whole_run": times[-1],
        "processor": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }


if __name__ == "__main__":
    sys.exit(main())
