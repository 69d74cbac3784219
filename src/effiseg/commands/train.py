"""`effiseg train`: one run from settings to model folder."""

from __future__ import annotations

from dataclasses import dataclass

from effiseg.commands.loading import load_training
from effiseg.commands.outcome import print_outcome
from effiseg.config.command_line import parse_command
from effiseg.config.parsing import recipe_names
from effiseg.config.training import TrainConfig
from effiseg.errors import UsageError
from effiseg.messages import notice
from effiseg.run_folder import RunFolder

_PROG = "effiseg train"


@dataclass
class _ResumeConfig:
    """Settings of `effiseg train --resume`; the run's own settings decide everything else."""

    resume: str
    """Run folder to go on with."""


def run(argv: list[str]) -> int:
    """Parse, train, print where the model lies."""
    if any(word.partition("=")[0] == "--resume" for word in argv):
        run = RunFolder(resume_folder(argv))
        if run.is_finished and run.report_page.is_file():
            notice(f"{run.path} is finished already; nothing is trained")
            print_outcome(run)
            return 0
        notice(f"going on with {run.path}")
        load_training()
        from effiseg.runs import resume_run

        finished = resume_run(run.path)
    else:
        config = parse_command(
            TrainConfig,
            argv,
            prog=_PROG,
            description=f"Train or distil a model. Recipes: {', '.join(recipe_names())}. "
            "`--config paper` lays the paper's protocol over any of them.",
            example="effiseg train --data my.yaml --model b0 --epochs 50 --batch 8 --image_size 512x512",
            others={"--resume RUN": "Run folder of an interrupted run to go on with; stands alone."},
            with_recipe=True,
        )
        notice(f"recipe {config.recipe} on {config.data or 'no data yet'}")
        load_training()
        from effiseg.runs import start_run

        finished = start_run(config)
    print_outcome(finished.folder)
    return 0


def resume_folder(argv: list[str]) -> str:
    """RUN of `--resume RUN`, which stands alone.

    Raises:
        UsageError: no folder, or other options beside it.
    """
    try:
        return parse_command(_ResumeConfig, argv, prog=f"{_PROG} --resume", description="").resume
    except UsageError:
        raise UsageError(f"--resume takes one run folder and no other option: {_PROG} --resume RUN") from None
