"""Latency beside YOLO26n-sem, the small semantic model that users would pick instead, on this machine.

    python benchmarks/peer.py --peer_python /tmp/peer/bin/python   # benchmarks/results/peer.json
    python benchmarks/peer.py --quick --json out.json                # our side alone, a tiny size: shows that it runs

`benchmarks/peers/yolo26_sem.py` says how the peer's environment is made; its own package exports it there, with random
weights: the same arithmetic as trained ones. Both sides answer the same question on the same input: logits at an eighth
of the input's size (b0: a quarter), or labels at the input's size. (The peer's own export enlarges its logits to the
input's size, which costs as much again; without labels nobody needs that, so it is not what is compared.)

Where transformers is installed, its SegFormer-B0 with b0's weights runs beside them, as transformers computes it.

bfloat16 is measured where the processor has instructions for it. Contenders take turns in changing order, one image at
a time, medians. Ratios are to the peer's in the same engine,
precision, size and output.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from side_by_side import alternate
from torch import Tensor

from effiseg import SegFormer, export_model
from effiseg.benchmark.contender import Contender
from effiseg.benchmark.forward import write_file
from effiseg.config.engine import EngineName, Output
from effiseg.config.model import Variant
from effiseg.data.transforms import UInt8Array
from effiseg.engines.openvino import compile_network, has_bfloat16, openvino_core
from effiseg.environment import available_cores, describe_environment
from effiseg.files import write_json
from effiseg.models.pretrained import save_pretrained

DEFAULT_JSON = Path(__file__).parent / "results" / "peer.json"
PEER = Path(__file__).parent / "peers" / "yolo26_sem.py"
SIZES = ((512, 1024), (256, 512))
VARIANTS: tuple[Variant, ...] = ("n", "s", "b0")
OUTPUTS: tuple[Output, ...] = ("logits", "labels")
THEIR_B0 = "b0 in transformers"
CLASSES = 19
ROUNDS = (3, 20)
"""Calls that do not count, and those that do."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every size and output, print the ratios, write the JSON file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peer_python", help="Python of the environment that holds the peer's package")
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--quick", action="store_true", help="a tiny size, two calls")
    parser.add_argument("--json", type=Path, default=DEFAULT_JSON)
    options = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    for size in ((64, 96),) if options.quick else SIZES:
        for output in OUTPUTS:
            with tempfile.TemporaryDirectory(prefix="effiseg-peer-") as folder:
                files = write_files(Path(folder), size, output, options.peer_python)
                times = time_files(files, size, options.threads, (1, 2) if options.quick else ROUNDS)
            rows += as_rows(times, size, output)
            for row in rows[-len(times) :]:
                ratio = "" if row["ratio"] is None else f"{row['ratio']:6.2f} of the peer"
                print(
                    f"{size[0]}x{size[1]} {output:6} {row['engine']:22} {row['model']:18} {row['ms']:8.2f} ms {ratio}"
                )
            write_json(
                options.json,
                {
                    "benchmark": "peer",
                    "quick": options.quick,
                    "command": shlex.join(["python", "benchmarks/peer.py", *(arguments or sys.argv[1:])]),
                    "environment": describe_environment(),
                    "threads": options.threads,
                    "rows": rows,
                },
            )
    print(f"written to {options.json}")


def write_files(folder: Path, size: tuple[int, int], output: Output, peer_python: str | None) -> dict[str, Path]:
    """Name of a model → its file without a suffix, beside which lie .xml and .onnx."""
    files: dict[str, Path] = {}
    for variant in VARIANTS:
        torch.manual_seed(0)
        files[variant] = folder / variant
        for suffix in (".xml", ".onnx"):
            model = SegFormer(variant, CLASSES)
            export_model(model, files[variant].with_suffix(suffix), image_size=size, output=output)
    if find_spec("transformers") is not None:
        files[THEIR_B0] = folder / "transformers-b0"
        torch.manual_seed(0)
        save_pretrained(SegFormer("b0", CLASSES), folder / "b0-model")
        engines: tuple[tuple[str, EngineName], ...] = ((".xml", "openvino"), (".onnx", "onnxruntime"))
        for suffix, engine in engines:
            contender = Contender(
                model=THEIR_B0, source=str(folder / "b0-model"), image_size=size, threads=1, software="transformers",
                form="published", engine=engine, output=output,
            )  # fmt: skip
            write_file(contender, files[THEIR_B0].with_suffix(suffix))
    if peer_python is not None:
        files["yolo26n-sem"] = folder / "yolo26n-sem"
        words = ["--size", f"{size[0]}x{size[1]}", "--output", output, "--out", str(files["yolo26n-sem"])]
        subprocess.run([peer_python, str(PEER), "export", *words], check=True, stdout=subprocess.DEVNULL)
    return files


def time_files(
    files: dict[str, Path], size: tuple[int, int], threads: int, rounds: tuple[int, int]
) -> dict[tuple[str, str], list[float]]:
    """(engine and precision, model) → milliseconds of every call that counts."""
    values = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
    times: dict[tuple[str, str], list[float]] = {}
    engines: dict[str, Callable[[Path], tuple[Callable[[Any], Any], bool]]] = {
        "openvino float32": lambda path: opened_by_openvino(path, threads, "f32"),
        "onnxruntime float32": lambda path: opened_by_onnxruntime(path, threads),
    }
    if has_bfloat16(openvino_core("this benchmark")):
        engines["openvino bfloat16"] = lambda path: opened_by_openvino(path, threads, "bf16")
    for engine, opened in engines.items():
        runs = {name: as_call(opened(path), values) for name, path in files.items()}
        found, _ = alternate(runs, rounds, torch.device("cpu"))
        times |= {(engine, name): values for name, values in found.items()}
    return times


def as_call(opened: tuple[Callable[[Any], Any], bool], values: UInt8Array) -> Callable[[], Tensor]:
    """A function that `alternate` can time, of pixels as the file takes them: ours as they come from a picture
    (normalization is in the file), the peer's as (1, 3, H, W) from 0 to 1."""
    run, from_picture = opened
    image = values if from_picture else np.ascontiguousarray(values.transpose(0, 3, 1, 2).astype(np.float32) / 255)

    def call() -> Tensor:
        run(image)
        return torch.zeros(1)

    return call


def opened_by_openvino(path: Path, threads: int, hint: str) -> tuple[Callable[[Any], Any], bool]:
    """The .xml file as a function, and whether it takes a picture as it is."""
    network = openvino_core("this benchmark").read_model(path.with_suffix(".xml"))
    request = compile_network(network, threads, hint).create_infer_request()
    return lambda image: request.infer([image]), network.inputs[0].get_element_type().to_dtype() == np.uint8


def opened_by_onnxruntime(path: Path, threads: int) -> tuple[Callable[[Any], Any], bool]:
    """The .onnx file as a function, and whether it takes a picture as it is."""
    import onnxruntime  # type: ignore[import-untyped]

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path.with_suffix(".onnx"), settings, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    return lambda image: session.run(None, {entry.name: image}), "uint8" in entry.type


def as_rows(times: dict[tuple[str, str], list[float]], size: tuple[int, int], output: str) -> list[dict[str, Any]]:
    """The results file's rows: medians, and ratios to the peer where it was measured."""
    medians = {key: median(values) for key, values in times.items()}
    rows = []
    for (engine, model), values in times.items():
        peer = medians.get((engine, "yolo26n-sem"))
        rows.append(
            {
                "image_size": list(size),
                "output": output,
                "engine": engine,
                "model": model,
                "ms": medians[engine, model],
                "ratio": None if peer is None else medians[engine, model] / peer,
                "samples_ms": values,
            }
        )
    return rows


if __name__ == "__main__":
    main()
