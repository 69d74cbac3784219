"""`effiseg export`: write a model as a file for an engine, checked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from effiseg.commands.arguments import CommandParser, positive
from effiseg.config.data import parse_image_size
from effiseg.config.engine import ExportFormat, Output, Precision
from effiseg.config.export import ExportConfig
from effiseg.engines import FORMATS, format_of
from effiseg.errors import UsageError
from effiseg.export.checks import format_to_write

if TYPE_CHECKING:
    from effiseg.export.exporter import ExportReport


def run(argv: list[str]) -> int:
    """Parse, export, print what was checked."""
    source, config = parse(argv)
    from effiseg.api import export_as
    from effiseg.export.exporter import report_path

    report = export_as(source, config)
    print_report(report)
    print(f"report: {report_path(config.out)}")
    return 0


def parse(argv: list[str]) -> tuple[str, ExportConfig]:
    """MODEL and the export.

    Raises:
        UsageError: what is wrong, in one line.
    """
    parser = CommandParser(
        prog="effiseg export",
        description="Write a model for an engine. Input: uint8 RGB images (batch, height, width, 3), normalized "
        "inside. The file is compared with the model before it gets its name; FILE.json says how near it is.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="run folder, model folder, transformers folder or Hub id")
    add("--out", required=True, type=Path, metavar="FILE", help="file to write; its suffix says the format")
    add("--format", choices=get_args(ExportFormat), help="; ".join(f"{known.format}: {known.contents}"
        for known in FORMATS) + " (default: what the suffix of --out says)")  # fmt: skip
    add("--image_size", type=parse_image_size, metavar="HxW", help="the one input size (default: the model's own)")
    add("--dynamic", action="store_true", help="take any batch, height and width, from 64x64 on")
    able = "; ".join(f"{known.format}: {', '.join(known.precisions)}" for known in FORMATS)
    add("--precision", choices=get_args(Precision), default="float32", help=f"what the file computes in: {able} "
        "(default: float32). int8 is quantized after calibration on the images of --data")  # fmt: skip
    add("--output", choices=get_args(Output), default="logits", help="logits at a quarter of the input's size "
        "(default), or labels at its size")  # fmt: skip
    add("--data", help="data set whose images check the file: a YAML file, or a preset with --data_root")
    add("--data_root", metavar="DIR", help="folder of the data set; replaces the YAML's path")
    add("--split", default="val", help="split to check and to measure int8 on (default: val)")
    add("--calibration_images", type=positive, default=64, metavar="N", help="most images of the train split that "
        "int8 is calibrated on (default: 64)")  # fmt: skip
    add("--evaluation_images", type=positive, metavar="N", help="most images that mIoU is measured on before and "
        "after int8 (default: all of the split)")  # fmt: skip
    values = vars(parser.parse(_in_new_words(argv), surplus="one MODEL is exported at a time"))
    source, config = values.pop("model"), ExportConfig(**values)
    format_to_write(config)
    return source, config


def _in_new_words(argv: Sequence[str]) -> list[str]:
    """The words with `--precision` in place of --half and --int8, which are understood for one release.

    Raises:
        UsageError: more than one precision, or a format that has no half precision.
    """
    old = [word for word in argv if word in ("--half", "--int8")]
    if not old:
        return list(argv)
    given = [word for word in argv if word in old or word.partition("=")[0] == "--precision"]
    if len(given) > 1:
        raise UsageError(f"give one --precision; found both {given[0]} and {given[1]}")
    precision: str | None = "int8"
    if old == ["--half"]:
        word = _value(argv, "--format")
        named = next((known for known in FORMATS if known.format == word), None)
        chosen = named or format_of(_value(argv, "--out")) or FORMATS[0]
        precision = chosen.half
        if precision is None:
            able = " and ".join(known.format for known in FORMATS if known.half)
            raise UsageError(f"--half is for --format {able}; found {chosen.format}")
    print(f"effiseg export: {old[0]} is now --precision {precision}", file=sys.stderr)
    return [*(word for word in argv if word not in old), "--precision", str(precision)]


def _value(argv: Sequence[str], option: str) -> str:
    """What stands behind an option, or nothing."""
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name == option:
            return value if equals else following
    return ""


def print_report(report: ExportReport) -> None:
    """The file, its check, and of int8 what it costs and gains."""
    record, verification = report.record, report.verification
    size = "any size" if record.input_size is None else f"{record.input_size[0]}x{record.input_size[1]}"
    print(f"{report.file}: {record.model}, {size}, {record.output}, {record.precision}, {report.bytes / 1e6:.1f} MB")
    for check in verification.sizes:
        error = "" if check.error is None else f"logits differ by at most {check.error:.1e} of their range, "
        print(
            f"checked at {check.image_size[0]}x{check.image_size[1]} on {check.images} images ({verification.images}): "
            f"{error}{100 * check.label_agreement:.3f} % of the labels equal the model's"
        )
    found = report.quantization
    if found is None:
        return
    miou, latency = found["miou"], found["latency_ms"]
    print(
        f"int8, calibrated on {found['calibration']['images']} images: "
        f"mIoU {_number(miou['float32'])} -> {_number(miou['int8'])} % "
        f"on {found['images']} images of {found['split']}, "
        f"{latency['float32']:.1f} -> {latency['int8']:.1f} ms an image"
    )
    for name in ("int8", "float32"):
        print(f"in {name}: " + ", ".join(f"{count} {kind}" for kind, count in found["operators"][name].items()))


def _number(percent: float | None) -> str:
    return "absent" if percent is None else f"{percent:.2f}"
