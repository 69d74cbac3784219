"""`effiseg train`: one run from settings to model folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from effiseg.config.command_line import parse_command
from effiseg.config.parsing import recipe_names
from effiseg.config.training import TrainConfig
from effiseg.errors import UsageError

if TYPE_CHECKING:
    from effiseg.runs import Run

_PROG = "effiseg train"


@dataclass
class _ResumeConfig:
    """Settings of `effiseg train --resume`; the run's own settings decide everything else."""

    resume: str
    """Run folder to go on with."""


def run(argv: list[str]) -> int:
    """Parse, train, print where the model lies."""
    if any(word.partition("=")[0] == "--resume" for word in argv):
        folder = resume_folder(argv)
        from effiseg.runs import resume_run

        finished = resume_run(folder)
    else:
        config = parse_command(
            TrainConfig,
            argv,
            prog=_PROG,
            description=f"Train or distil a model. Recipes: {', '.join(recipe_names())}. "
            "`--config paper` lays the paper's protocol over any of them. "
            "`effiseg train --resume RUN` goes on with an interrupted run.",
            with_recipe=True,
        )
        from effiseg.runs import start_run

        finished = start_run(config)
    print_outcome(finished)
    return 0


def print_outcome(finished: Run) -> None:
    """Where a finished run's files lie, and what it is worth as a start where that was measured.

    Of the processes of a launcher the one that kept the run tells it.
    """
    from effiseg.training.launching import find_crew

    crew = find_crew()
    if crew is not None and not crew.leads:
        return
    print(f"model: {finished.folder.model}")
    print(f"results: {finished.folder.results}")
    for row in finished.transfer:
        miou = "absent" if row["val_miou"] is None else f"{row['val_miou']:.2f} %"
        print(f"transfer from {row['source']}: val mIoU {miou}")
    if finished.report is not None:
        print(f"report: {finished.report}")


def resume_folder(argv: list[str]) -> str:
    """RUN of `--resume RUN`, which stands alone.

    Raises:
        UsageError: no folder, or other options beside it.
    """
    try:
        return parse_command(_ResumeConfig, argv, prog=f"{_PROG} --resume", description="").resume
    except UsageError:
        raise UsageError(f"--resume takes one run folder and no other option: {_PROG} --resume RUN") from None
