"""`effiseg predict`: images, videos and streams to labels, colours, overlays and probabilities."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from effiseg.commands.arguments import CommandParser, positive
from effiseg.config.data import Resize, parse_image_size
from effiseg.config.training import Device
from effiseg.progress import progress_bar

if TYPE_CHECKING:
    from effiseg.prediction.predict import Report

_MOST_SHOWN = 20


def run(argv: list[str]) -> int:
    """Parse, predict, name what could not be read; 1 if anything could not."""
    options = parse(argv)
    from effiseg.allocator import keep_freed_memory
    from effiseg.inference.predictor import Predictor
    from effiseg.prediction.predict import parse_outputs, predict_sources
    from effiseg.prediction.sources import find_sources

    outputs = None if options.save is None else parse_outputs(options.save)
    sources = find_sources(options.source, options.out)
    keep_freed_memory()
    decisive = {
        "mode": options.mode,
        "window": options.window,
        "stride": options.stride,
        "flip": options.flip,
        "image_size": options.image_size,
        "resize": options.resize,
    }
    predictor = Predictor(
        options.model,
        device=options.device,
        batch_size=options.batch_size,
        probabilities="probabilities" in (outputs or ()),
        **decisive,
    )
    settings = {name: list(value) if isinstance(value, tuple) else value for name, value in decisive.items()}
    with progress_bar("predicting", unit="images") as progress:
        report = predict_sources(
            predictor,
            sources,
            options.out,
            outputs=outputs,
            label_ids=options.label_ids,
            existing=options.existing,
            settings={"model": options.model, **settings},
            progress=progress,
        )
    if options.label_ids and predictor.metadata.label_mapping is None:
        print("label_ids: the model has no label_mapping, so class indices are what its masks held", file=sys.stderr)
    return print_report(report, options.out)


def parse(argv: list[str]) -> argparse.Namespace:
    """The options.

    Raises:
        UsageError: what is wrong, in one line.
    """
    parser = CommandParser(
        prog="effiseg predict",
        description="Label images, videos and streams. Writes labels/ID.png (class indices), color/ID.png, "
        "overlay/ID.jpg (of videos overlay/ID.mp4) and prediction.json, which says what the indices mean. A file that "
        "cannot be read is passed over and named at the end; the exit code is then 1.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="run folder, model folder, transformers folder, Hub id, or a file that "
        "effiseg export wrote")  # fmt: skip
    add("source", nargs="+", metavar="SOURCE", help="images or videos: files, a folder (with its subfolders), a glob; "
        "or a webcam's number, or the URL of a stream")  # fmt: skip
    add("--out", required=True, type=Path, metavar="DIR", help="folder for the outputs")
    add("--mode", choices=("whole", "slide"), default="whole", help="whole: bring the image to the network's input "
        "(default); slide: keep its size and move a window over it")  # fmt: skip
    add("--window", type=parse_image_size, metavar="HxW", help="slide: size of the window (default: the model's input)")
    add("--stride", type=positive, metavar="N", help="slide: pixels from window to window (default: two thirds of it)")
    add("--flip", action="store_true", help="average with the mirror image's logits; twice the work")
    add("--image_size", type=parse_image_size, metavar="HxW", help="whole: network input (default: the model's own); "
        "slide: size to bring images to first (default: their own)")  # fmt: skip
    add("--resize", choices=get_args(Resize), help="how images are brought to it (default: the model's own)")
    add("--save", metavar="WHAT,…", help="any of labels,color,overlay,probabilities (default: the first three of "
        "images, overlay of videos)")  # fmt: skip
    add("--label_ids", action="store_true", help="labels/ID.png holds the values of the data set's masks, as the "
        "Cityscapes server wants them")  # fmt: skip
    add("--existing", choices=("refuse", "skip", "overwrite"), default="refuse", help="where DIR holds something: "
        "refuse it (default), skip images whose outputs are all there, or overwrite files of these names")  # fmt: skip
    add("--batch_size", type=positive, default=4, metavar="N", help="images, or windows, of one pass (default: 4)")
    add("--device", choices=get_args(Device), default="auto", help="auto takes a GPU where there is one")
    return parser.parse(argv)


def print_report(report: Report, out: Path) -> int:
    """What was done on stdout, what could not be read on stderr; the exit code."""
    rate = f", {report.images / report.seconds:.1f} a second" if report.images else ""
    skipped = f"; {report.skipped} were there already" if report.skipped else ""
    print(f"{out}: {report.images} images{rate}{skipped}")
    if not report.unreadable:
        return 0
    print(f"{len(report.unreadable)} files could not be read:", file=sys.stderr)
    for reason in list(report.unreadable.values())[:_MOST_SHOWN]:
        print(f"  {reason}", file=sys.stderr)
    if len(report.unreadable) > _MOST_SHOWN:
        print(f"  … all of them stand in {out / 'prediction.json'}", file=sys.stderr)
    return 1
