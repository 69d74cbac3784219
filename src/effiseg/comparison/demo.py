"""The comparison on embedded street scenes, small enough for a coffee break."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from effiseg.comparison.ablation import Message, ablate
from effiseg.comparison.samples import save_run_samples
from effiseg.config.comparison import AblationConfig
from effiseg.config.parsing import make_settings
from effiseg.errors import EffisegError
from effiseg.results import AblationResult
from effiseg.run_folder import RunFolder
from effiseg.scenes.synthetic import synthesize

SCENES = {"train": 200, "val": 40}
_SCENE_SIZE = (128, 256)
# Chosen for time alone: all rows in about ten minutes on two slow cores (2 GHz, no AMX). The numbers are what they are.
SETTINGS = {
    "data": "street_scenes",
    "init": "starter",  # it has learnt from scenes of the same generator, drawn from other seeds
    "augment": "paper",
    "image_size": "96x192",
    "batch_size": 8,
    "epochs": 3,
    "validate_every": 1,
    "workers": 1,
}


def demo(out: Path, *, command: str | None = None, message: Message = print) -> AblationResult:
    """Draw street scenes, train the teacher and every row of a comparison on them, compare.

    Called again on the same folder it goes on where it was cut.

    Args:
        out: folder for scenes (`data/`) and comparison (`comparison/`).
        command: the command line to record.
        message: told, in one line each, what is happening.

    Raises:
        DataError, RunError: the folder holds something else.
        Interrupted: a signal came; call again to go on.
    """
    data = out / "data"
    message(f"drawing {sum(SCENES.values())} street scenes into {data}")
    synthesize(data, SCENES, *_SCENE_SIZE, seed=0)
    settings = {**SETTINGS, "data_root": str(data)}
    own = {"out": str(out / "comparison")}
    config = make_settings(AblationConfig, ("demo", {**settings, **own}))
    return ablate(
        config, settings, command=command, message=message, ranks=False,
        after_run=lambda run: _first_pictures(run, message),
    )  # fmt: skip


def _first_pictures(run: RunFolder, message: Message) -> None:
    """Save a few labelled images of a run that is done, and say where; the comparison saves its own at the end."""
    with suppress(EffisegError, OSError, RuntimeError):
        if save_run_samples(run) is not None:
            message(f"pictures of {run.path.name}: {run.path / 'samples'}")
