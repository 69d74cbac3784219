"""`effiseg pretrain`: starting weights from drawn pictures."""

from __future__ import annotations

from effiseg.commands.loading import load_training
from effiseg.commands.outcome import print_outcome
from effiseg.config.command_line import parse_command
from effiseg.config.pretraining import PretrainConfig
from effiseg.messages import notice


def run(argv: list[str]) -> int:
    """Parse, train, measure, print where the weights lie."""
    config = parse_command(
        PretrainConfig,
        argv,
        prog="effiseg pretrain",
        description="Make starting weights from pictures that are drawn on the way: no files, no photographs. "
        "`--transfer.data DATA` measures them at the end. `effiseg train --resume RUN` continues an interrupted run; "
        "`effiseg train --init RUN` starts from a finished one.",
        example="effiseg pretrain --images 100000 --out runs/start",
        with_recipe=True,
    )
    notice(f"recipe {config.recipe} on {config.data}")
    load_training()
    from effiseg.runs import start_run

    print_outcome(start_run(config.training(), kind="pretrain").folder)
    return 0
