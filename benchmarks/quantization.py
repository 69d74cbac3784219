"""What int8 and half precision cost trained models: mIoU and latency of every run, in every engine.

    python benchmarks/quantization.py runs/baseline runs/tanh_linear --data camvid --data_root DIR
    python benchmarks/quantization.py RUN... --data ... --formats openvino --evaluation_images 8 --json out.json

Every run and format is written to the file as soon as it is measured; the same command goes on where it was stopped.
Without --json the table in docs/deployment.md is written too.

The question behind it: does a student without norms, whose affine maps are folded away, lose less to int8 than one
with LayerNorms? Both are exported in the deploy form and quantized with the same options on the same images. mIoU of
float32, half and int8 comes from the same engine; latencies of one run take turns.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from doc_section import replace_section

from effiseg.allocator import keep_freed_memory
from effiseg.config.data import parse_image_size
from effiseg.config.engine import ExportFormat
from effiseg.config.export import ExportConfig
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.engines import FILE_ENGINES, format_named, load_exported
from effiseg.environment import describe_environment
from effiseg.evaluation.evaluator import evaluate
from effiseg.export.exporter import export_model
from effiseg.export.verification import made_up_images
from effiseg.files import read_json, write_json
from effiseg.inference.framing import Framing
from effiseg.inference.network import exported_network
from effiseg.inference.timing import interleaved_medians
from effiseg.models.pretrained import from_pretrained
from effiseg.run_folder import resolve_model

DEFAULT_JSON = Path(__file__).parent / "results" / "quantization.json"
PAGE = Path(__file__).parents[1] / "docs" / "deployment.md"
FORMATS = [engine.format for engine in FILE_ENGINES if "int8" in engine.precisions]
SETTINGS = ("data", "data_root", "split", "image_size", "calibration_images", "evaluation_images", "repeats")


def main(arguments: Sequence[str] | None = None) -> None:
    """Export, evaluate and time what the file does not have yet, and print a line for each precision."""
    options = parse(arguments)
    allocator = keep_freed_memory()
    settings = {name: getattr(options, name) for name in SETTINGS}
    settings["image_size"] = options.image_size and list(options.image_size)
    pairs = [(run, file_format) for run in options.runs for file_format in options.formats]
    rows = kept_rows(options.json, settings, pairs)
    for number, (run, file_format) in enumerate(pairs, 1):
        if any((row["run"], row["format"]) == (run, file_format) for row in rows):
            continue
        rows += measure(run, file_format, options, partial(told, f"{number}/{len(pairs)} {run} {file_format}"))
        result = {
            "benchmark": "quantization",
            "command": shlex.join(["python", "benchmarks/quantization.py", *(arguments or sys.argv[1:])]),
            "settings": settings,
            "allocator": allocator,
            "environment": describe_environment(),
            "rows": rows,
        }
        write_json(options.json, result)
    for row in rows:
        print(
            f"{row['run']} {row['model']} {row['format']} {row['precision']}: mIoU {row['miou']:.2f} % "
            f"({row['miou_change']:+.2f}), {row['latency_ms']:.1f} ms, {row['bytes'] / 1e6:.1f} MB"
        )
    print(f"written to {options.json}")
    if options.json.resolve() == DEFAULT_JSON:
        replace_section(PAGE, "quantization", markdown(read_json(options.json)))
        print(f"written to {PAGE}")


def told(where: str, what: str) -> None:
    """One line about what is being done."""
    print(f"{where}: {what} …", file=sys.stderr, flush=True)


def kept_rows(
    path: Path, settings: Mapping[str, Any], pairs: Sequence[tuple[str, ExportFormat]]
) -> list[dict[str, Any]]:
    """What the file already holds of these runs and formats, if it was measured with the same settings."""
    if not path.is_file():
        return []
    before = read_json(path)
    if before.get("settings") != settings:
        return []
    return [row for row in before["rows"] if (row["run"], row["format"]) in pairs]


def markdown(result: Mapping[str, Any]) -> str:
    """The table of docs/deployment.md."""
    first, where = result["rows"][0], result["environment"]
    lines = [
        "",
        f"mIoU on {first['images']} images of {result['settings']['data']} {first['split']} at "
        f"{'×'.join(map(str, first['image_size']))}, in the engine itself; latencies of one run's files took turns "
        f"({where['cpu']}, {where['threads']} threads).",
        "",
        "| Run | engine | precision | mIoU % | change | ms | MB |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {Path(row['run']).name} ({row['model'].removeprefix('SegFormer ')}) | {row['format']} | "
        f"{row['precision']} | {row['miou']:.2f} | {row['miou_change']:+.2f} | {row['latency_ms']:.1f} | "
        f"{row['bytes'] / 1e6:.1f} |"
        for row in result["rows"]
    ]
    return "\n".join(lines) + "\n\n"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run or model folders")
    parser.add_argument("--data", required=True)
    parser.add_argument("--data_root")
    parser.add_argument("--split", default="val")
    parser.add_argument("--image_size", type=parse_image_size, help="default: the model's own")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=["onnx", "openvino"])
    parser.add_argument("--calibration_images", type=int, default=64)
    parser.add_argument("--evaluation_images", type=int, help="default: the whole split")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", type=Path, default=DEFAULT_JSON)
    return parser.parse_args(arguments)


def measure(
    run: str, file_format: ExportFormat, options: argparse.Namespace, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """One row a precision, in the order of the format's own; `tell` hears what is being done."""
    model = from_pretrained(resolve_model(run))
    spec = load_dataset_spec(options.data, options.data_root)
    with tempfile.TemporaryDirectory(prefix="effiseg-quantization-") as folder:
        rows, loaded = [], {}
        written_as = format_named(file_format)
        for precision in written_as.precisions:
            config = ExportConfig(
                Path(folder) / f"{precision}{written_as.suffix}", image_size=options.image_size, precision=precision,
                data=options.data, data_root=options.data_root, split=options.split,
                calibration_images=options.calibration_images, evaluation_images=1,
            )  # fmt: skip
            tell(f"exporting {precision}")
            report = export_model(model, config, run)
            tell(f"evaluating {precision}")
            loaded[precision] = load_exported(config.out)
            network = exported_network(loaded[precision], run)
            result = evaluate(
                network, Framing(batch_size=1), spec, options.split, most_images=options.evaluation_images
            )
            rows.append(
                {
                    "run": run,
                    "model": report.record.model,
                    "format": file_format,
                    "precision": loaded[precision].precision,
                    "image_size": result.image_size,
                    "split": options.split,
                    "images": result.images,
                    "miou": result.miou,
                    "class_iou": result.class_iou,
                    "bytes": report.bytes,
                    "verification": report.verification.to_dict(),
                    "operators": report.quantization and report.quantization["operators"],
                    "calibration": report.quantization and report.quantization["calibration"],
                }
            )
        tell("timing")
        size = loaded["float32"].record.input_size
        assert size is not None
        image = made_up_images(size)[:1]
        calls: dict[str, Callable[[], object]] = {name: partial(call, image) for name, call in loaded.items()}
        latency = interleaved_medians(calls, options.repeats)
    for row, precision in zip(rows, written_as.precisions, strict=True):
        row["miou_change"] = row["miou"] - rows[0]["miou"]
        row["latency_ms"] = latency[precision]
    return rows


if __name__ == "__main__":
    main()
