"""`effiseg demo`: the whole comparison on embedded street scenes."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from effiseg.commands.loading import load_training
from effiseg.config.command_line import parse_command
from effiseg.config.data import parse_image_size
from effiseg.files import write_text
from effiseg.messages import notice
from effiseg.progress import waiting
from effiseg.run_folder import ComparisonFolder

if TYPE_CHECKING:
    from effiseg.results import AblationRow

DESCRIPTION = (
    "Draw street scenes, train a teacher, the baseline and every strategy on them at a small size, and print the "
    "comparison. All of them start from the weights that come with effiseg, which have seen scenes of the same "
    "generator, drawn from other seeds. Takes under ten minutes on two cores; called again it goes on where it was cut."
)


@dataclass
class _DemoConfig:
    """Settings of the demonstration."""

    out: Path = Path("effiseg-demo")
    """Folder to write."""


def run(argv: list[str]) -> int:
    """Compare, print the table and the floor under the teacher."""
    out = parse_command(_DemoConfig, argv, prog="effiseg demo", description=DESCRIPTION).out
    notice("a teacher, a baseline and every strategy on drawn street scenes")
    load_training()
    from effiseg.comparison.demo import SETTINGS, demo
    from effiseg.comparison.demo_facts import facts
    from effiseg.data.dataset_spec import load_dataset_spec
    from effiseg.report.results_table import results_table
    from effiseg.report.table import markdown
    from effiseg.runs import report_at_end

    command = shlex.join(["effiseg", "demo", *argv])
    result = demo(out, command=command, message=notice)
    teacher = next(row for row in result.rows if row.name == "teacher")
    print(markdown(results_table(result)))
    accuracies = ", ".join(f"{row.name} {pixel_accuracy(row):.1f} %" for row in result.rows)
    print(
        f"Pixels right: {accuracies}.\n"
        f"The teacher scores {teacher.miou:.2f} % mIoU; always predicting the most frequent class scores "
        f"{result.settings['chance_miou']:.2f} %. All rows start from weights that know this generator (other seeds); "
        "training is too short to rank them."
    )
    comparison = out / "comparison"
    spec = load_dataset_spec(str(SETTINGS["data"]), str(out / "data"))
    run = ComparisonFolder(comparison).run("tanh_linear", 0)
    with waiting("looking at what is true after a minute"):
        lines = list(facts(spec, run, parse_image_size(str(SETTINGS["image_size"])), out / "exported"))
    print("\n".join(lines))
    write_text(out / "facts.txt", "".join(f"{line}\n" for line in lines))
    print(f"results: {comparison}/results.json, table.md, table.csv, table.tex; runs and models: {comparison}/runs")
    if (page := report_at_end(comparison)) is not None:
        print(f"report: {page}")
    return 0


def pixel_accuracy(row: AblationRow) -> float:
    """Share of a row's labelled pixels that are right, in percent."""
    labelled = sum(map(sum, row.confusion))
    return 100 * sum(counts[index] for index, counts in enumerate(row.confusion)) / max(labelled, 1)
