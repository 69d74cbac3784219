"""`effiseg train`: one run from settings to model folder."""

from __future__ import annotations

from effiseg.config.parsing import parse_command, recipe_names
from effiseg.config.training import TrainConfig
from effiseg.errors import UsageError


def run(argv: list[str]) -> int:
    """Parse, train, print where the model lies."""
    if "--resume" in argv or any(word.startswith("--resume=") for word in argv):
        folder = resume_folder(argv)
        from effiseg.runs import resume_run

        finished = resume_run(folder)
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
        from effiseg.runs import start_run

        finished = start_run(config)
    print(f"model: {finished.folder.model}")
    print(f"results: {finished.folder.results}")
    if finished.report is not None:
        print(f"report: {finished.report}")
    return 0


def resume_folder(argv: list[str]) -> str:
    """RUN of `--resume RUN`, which stands alone: the run's own settings decide everything else.

    Raises:
        UsageError: no folder, or other options beside it.
    """
    words = [part for word in argv for part in (word.split("=", 1) if word.startswith("--resume=") else [word])]
    if len(words) == 2 and words[0] == "--resume":
        return words[1]
    raise UsageError("--resume takes one run folder and no other option: effiseg train --resume RUN")
