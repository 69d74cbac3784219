"""`effiseg predict`: images, videos and streams to labels, colors, overlays and probabilities."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from effiseg.commands.loading import load_pytorch
from effiseg.config.command_line import parse_command
from effiseg.config.prediction import PredictionConfig
from effiseg.messages import notice
from effiseg.progress import progress_bar

if TYPE_CHECKING:
    from effiseg.prediction.report import PredictionReport

_MOST_SHOWN = 20
_MOST_CLASSES = 4


def run(argv: list[str]) -> int:
    """Parse, predict, name what could not be read; 1 if anything could not."""
    config = parse_command(
        PredictionConfig,
        argv,
        prog="effiseg predict",
        description="Label images, videos and streams. Writes labels/ID.png (class indices), color/ID.png, "
        "overlay/ID.jpg (of videos overlay/ID.mp4) and prediction.json, which says what the indices mean; "
        "with --save also polygons for annotation tools. A file that cannot be read is passed over and named at "
        "the end; the exit code is then 1.",
        words=("model", "source"),
    )
    notice(f"{config.model} on {', '.join(config.source[:3])}{' …' if config.source[3:] else ''}")
    load_pytorch()
    from effiseg.allocator import keep_freed_memory
    from effiseg.operations import predict_as

    keep_freed_memory()
    with progress_bar("predicting", log_seconds=30 if config.on == "ray" else None, unit="images") as progress:
        report = predict_as(config, config.model, progress)
    return print_report(report)


def print_report(report: PredictionReport) -> int:
    """Report of the outcome, on stdout, and of unreadable sources, on stderr; the exit code."""
    rate = f", {report.images / report.seconds:.1f} a second" if report.images else ""
    skipped = f"; {report.skipped} were there already" if report.skipped else ""
    for name, areas in sorted(report.areas.items()):
        largest = sorted(areas.items(), key=lambda area: -area[1])[:_MOST_CLASSES]
        print(f"{name}: {', '.join(f'{each} {100 * share:.0f} %' for each, share in largest if share >= 0.005)}")
    print(f"{report.folder}: {report.images} images{rate}{skipped}")
    if not report.unreadable:
        return 0
    print(f"{len(report.unreadable)} files could not be read:", file=sys.stderr)
    for reason in list(report.unreadable.values())[:_MOST_SHOWN]:
        print(f"  {reason}", file=sys.stderr)
    if len(report.unreadable) > _MOST_SHOWN:
        print(f"  … all of them stand in {report.folder / 'prediction.json'}", file=sys.stderr)
    return 1
