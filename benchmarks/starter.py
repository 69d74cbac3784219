"""A starter for the package from a pretrained run: its weights in float16, and where they come from.

    effiseg pretrain --out runs/start --precision bf16 --device cpu --workers 1
    python benchmarks/starter.py runs/start --commit COMMIT

writes src/effiseg/starters/VARIANT.safetensors and VARIANT.json. The commit is that of the code that trained the run.
The first losses of the run are computed again and written down; tests/benchmarks/test_starter.py repeats them.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from effiseg.config.parsing import make_settings, read_settings, recipe_settings, settings_dict
from effiseg.config.training import TrainConfig
from effiseg.config.transfer import TransferConfig
from effiseg.environment import describe_environment
from effiseg.errors import Interrupted, RunError
from effiseg.files import read_json
from effiseg.models.starters import starter_folder, write_starter
from effiseg.nested import flatten
from effiseg.run_folder import RunFolder
from effiseg.training.run_keeper import RunKeeper
from effiseg.training.trainer import train

STATEMENT = "Trained on pictures that effiseg draws; no photograph and nobody's weights were used."
STEPS = 3
_LEFT_OUT = ("out", "recipe", "transfer", "init", "init_digest", "keep_epochs")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the starter of a run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("run", help="finished run of `effiseg pretrain`")
    parser.add_argument("--commit", required=True, help="commit of the code that trained it")
    parser.add_argument("--out", default=str(starter_folder()), help="folder to write to (default: the package's)")
    options = parser.parse_args(arguments)
    run = RunFolder(options.run)
    if not run.results.is_file():
        raise SystemExit(f"{run.path}: not a finished run")
    config = read_settings(TrainConfig, run.config)
    print(write_starter(run.model, options.out, provenance(run, config, options.commit)))


def provenance(run: RunFolder, config: TrainConfig, commit: str) -> dict[str, Any]:
    """What VARIANT.json says of a run."""
    environment = read_json(run.environment)
    assert config.images_per_epoch is not None
    return {
        "statement": STATEMENT,
        "licence": "Apache-2.0",
        "command": command_of(config),
        "commit": commit,
        "settings": settings_dict(replace(config, out="", init_digest=None)),
        "seed": config.seed,
        "pictures_seen": config.epochs * config.images_per_epoch,
        "torch": environment["packages"]["torch"],
        "cpu": environment["cpu"],
        "first_losses": first_losses(config, STEPS),
        "measured_on": {"torch": describe_environment()["packages"]["torch"], "cpu": describe_environment()["cpu"]},
    }


def command_of(config: TrainConfig) -> str:
    """The command that repeats a run: what differs from the recipe's settings."""
    base = settings_dict(make_settings(TrainConfig, (config.recipe, recipe_settings(config.recipe))))
    own = settings_dict(config)
    changed = {name: value for name, value in flatten(own).items() if flatten(base)[name] != value}
    words = [f"--{name} {value}" for name, value in changed.items() if name.partition(".")[0] not in _LEFT_OUT]
    return " ".join(["effiseg pretrain --out RUN", *words])


def first_losses(config: TrainConfig, steps: int) -> list[float]:
    """The losses of the first steps of a run, which is stopped after them."""
    losses: list[float] = []
    finish_step = RunKeeper.on_train_batch_end

    def noting(keeper: RunKeeper, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        losses.append(float(module.latest_terms["loss"]))
        if len(losses) == steps:
            keeper.watch.received = signal.SIGINT
        finish_step(keeper, trainer, module, outputs, batch, batch_idx)

    with tempfile.TemporaryDirectory() as folder, patch.object(RunKeeper, "on_train_batch_end", noting):
        fresh = replace(config, out=f"{folder}/run", init=config.init or "scratch", transfer=TransferConfig())
        try:
            train(fresh)
        except Interrupted:
            return losses
    raise RunError(f"the run ended before step {steps}")


if __name__ == "__main__":
    main()
