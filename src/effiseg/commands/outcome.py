"""The end of a training run on the terminal: scores, where its files lie, and what to do with them."""

from __future__ import annotations

import shlex

from effiseg.commands.evaluate import print_next, print_result
from effiseg.files import read_json
from effiseg.progress import format_seconds
from effiseg.results import EvaluationResult
from effiseg.run_folder import RunFolder


def print_outcome(run: RunFolder) -> None:
    """A finished run: classes and means on val, size, length, files, and the next commands.

    Of the processes of a launcher the one that kept the run tells it.

    Raises:
        UsageError: its results cannot be read.
    """
    from effiseg.training.launching import find_crew

    crew = find_crew()
    if crew is not None and not crew.leads:
        return
    results = read_json(run.results)
    if results["val"] is not None:
        print_result(EvaluationResult.from_dict(results["val"], run.results))
    length = f"{results['steps']} steps in {format_seconds(results['train_seconds'])}"
    size = results.get("parameters")  # runs of earlier versions do not say
    print(length if size is None else f"{size / 1e6:.2f} M parameters, {length}")
    for row in read_json(run.transfer)["rows"] if run.transfer.is_file() else ():
        miou = "absent" if row["val_miou"] is None else f"{row['val_miou']:.2f} %"
        print(f"transfer from {row['source']}: val mIoU {miou}")
    places = {"model": run.model, "results": run.results, "report": run.report_page, "log": run.log}
    for name, path in places.items():
        if path.exists():
            print(f"{name + ':':<8} {path}")
    print_next(
        f"effiseg predict {shlex.quote(str(run.path))} IMAGES",
        f"effiseg export {shlex.quote(str(run.path))} --out model.onnx",
    )
