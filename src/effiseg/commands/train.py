"""`effiseg train`: one run from settings to model folder."""

from __future__ import annotations

import sys

from effiseg.commands.report_at_end import report_at_end
from effiseg.config.parsing import parse_command, recipe_names
from effiseg.config.training import TrainConfig
from effiseg.errors import EffisegError, UsageError
from effiseg.run_folder import RunFolder


def run(argv: list[str]) -> int:
    """Parse, train, print where the model lies."""
    if "--resume" in argv or any(word.startswith("--resume=") for word in argv):
        folder = resume_folder(argv)
        from effiseg.training.trainer import resume

        finished = resume(folder)
    else:
        config = parse_command(
            TrainConfig,
            argv,
            prog="effiseg train",
            description=f"Train or distil a model. Recipes: {', '.join(recipe_names())}. "
            "`--config paper` lays the paper's protocol over any of them. "
            "`effiseg train --resume RUN` goes on with an interrupted run.",
            with_recipe=True,
        )
        from effiseg.training.trainer import train

        finished = train(config)
    print(f"model: {finished.model}")
    print(f"results: {finished.results}")
    save_pictures(finished)
    report_at_end(finished.path, quick=True)
    return 0


def save_pictures(run: RunFolder) -> None:
    """Save what the model makes of a few images of val, for the report; a run that is done is not lost by it."""
    from effiseg.comparison.samples import save_run_samples

    try:
        save_run_samples(run)
    except (EffisegError, OSError, RuntimeError) as error:
        print(f"no pictures were saved: {error}", file=sys.stderr)


def resume_folder(argv: list[str]) -> str:
    """RUN of `--resume RUN`, which stands alone: the run's own settings decide everything else.

    Raises:
        UsageError: no folder, or other options beside it.
    """
    words = [part for word in argv for part in (word.split("=", 1) if word.startswith("--resume=") else [word])]
    if len(words) == 2 and words[0] == "--resume":
        return words[1]
    raise UsageError("--resume takes one run folder and no other option: effiseg train --resume RUN")
