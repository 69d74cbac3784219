"""`effiseg export`: write a model as a file for an engine, checked, or models as a page that runs them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from effiseg.config.command_line import parse_command
from effiseg.config.export import ExportConfig
from effiseg.engines import FORMATS, format_of
from effiseg.errors import UsageError
from effiseg.export.checks import format_to_write, site_settings

if TYPE_CHECKING:
    from effiseg.export.exporter import ExportReport
    from effiseg.export.verification import Verification


@dataclass(frozen=True, kw_only=True)
class Options(ExportConfig):
    """Settings of `effiseg export`."""

    RENAMED: ClassVar[dict[str, str]] = {"model": "models"}

    models: list[str]
    """Run folder, model folder, transformers folder or Hub id; two of them for a page that compares."""


def run(argv: list[str]) -> int:
    """Parse, export, print what was checked."""
    options = parse(argv)
    if options.format == "web":
        return _write_site(options)
    from effiseg.engines.record import report_path
    from effiseg.operations import export_as

    report = export_as(options.models[0], options)
    print_report(report)
    print(f"report: {report_path(options.out)}")
    return 0


def parse(argv: list[str]) -> Options:
    """The options.

    Raises:
        UsageError: what is wrong, in one line.
    """
    able = "; ".join(f"{known.format} ({known.contents}): {', '.join(known.precisions)}" for known in FORMATS)
    options = parse_command(
        Options,
        _in_new_words(argv),
        prog="effiseg export",
        description="Write a model for an engine. Input: uint8 RGB images (batch, height, width, 3), normalized "
        "inside. The file is compared with the model before it gets its name; FILE.json says how near it is. "
        f"Formats and what they compute in: {able}. web: a folder with a page that runs one or two models, checked the "
        "same way, in the visitor's browser.",
        words=("models",),
    )
    if options.format == "web":
        site_settings(options.models, options)
        return options
    format_to_write(options)
    if len(options.models) > 1:
        raise UsageError(f"a file holds one model, and --format web shows two; found {len(options.models)} models")
    return options


def _write_site(options: Options) -> int:
    from effiseg.api.web import export_site_as

    report = export_site_as(site_settings(options.models, options), lambda text: print(text, file=sys.stderr))
    for export in report.exports:
        print(f"{export.file}: {export.record.model}, {export.bytes / 1e6:.1f} MB")
        _print_checks(export.verification)
    print(f"{report.folder}: {report.bytes / 1e6:.1f} MB; any web server can serve it, for example")
    print(f"  python -m http.server --bind 127.0.0.1 --directory {shlex.quote(str(report.folder))} 8000")
    return 0


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
    written = next(filter(None, (format_of(word.rpartition("=")[2]) for word in argv)), None)
    precision = "int8" if old == ["--int8"] else written.half if written else None
    if precision is None:
        able = " and ".join(known.format for known in FORMATS if known.half)
        raise UsageError(f"--half is for --format {able}; found {written and written.format}")
    print(f"effiseg export: {old[0]} is now --precision {precision}", file=sys.stderr)
    return [*(word for word in argv if word not in old), "--precision", precision]


def print_report(report: ExportReport) -> None:
    """The file, its check, and of int8 what it costs and gains."""
    record = report.record
    size = "any size" if record.input_size is None else f"{record.input_size[0]}x{record.input_size[1]}"
    print(f"{report.file}: {record.model}, {size}, {record.output}, {record.precision}, {report.bytes / 1e6:.1f} MB")
    _print_checks(report.verification)
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


def _print_checks(verification: Verification) -> None:
    for check in verification.sizes:
        error = "" if check.error is None else f"logits differ by at most {check.error:.1e} of their range, "
        print(
            f"checked at {check.image_size[0]}x{check.image_size[1]} on {check.images} images ({verification.images}): "
            f"{error}{100 * check.label_agreement:.3f} % of the labels equal the model's"
        )
