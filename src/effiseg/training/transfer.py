"""The worth of a pretrained network: a short fixed training from it on labelled pictures of another kind."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from effiseg.config.training import TrainConfig
from effiseg.config.transfer import TransferConfig
from effiseg.errors import Interrupted
from effiseg.files import read_json, write_json
from effiseg.messages import notice
from effiseg.run_folder import RunFolder
from effiseg.training.run_checks import check_transfer
from effiseg.training.trainer import resume, train


@dataclass(frozen=True)
class Transfer:
    """One short training."""

    source: str
    """Its start: the run's final model, a snapshot of it, or `scratch`."""
    epoch: int
    """Epochs that the source had been trained."""
    val_miou: float | None
    """mIoU on the other data set's val split, percent."""
    class_iou: dict[str, float | None]
    """IoU of its classes, percent; None for one that does not occur."""


def measure_transfer(run: RunFolder, config: TrainConfig) -> list[Transfer]:
    """Train shortly from the final model, from every snapshot, and from random weights, and write transfer.json.

    Every training has a run folder of its own in RUN/transfer; those that are finished are not repeated, one that was
    cut goes on.

    Args:
        run: a finished run.
        config: its settings; `transfer.data` names the other data set.

    Raises:
        DataError: as `check_transfer` and `train`.
        Interrupted: a signal came; call again to go on.
    """
    settings = config.transfer
    spec, images = check_transfer(settings)
    steps_per_epoch = max(1, images // settings.batch_size)
    epochs = max(1, round(settings.steps / steps_per_epoch))
    sources: list[tuple[str, int, str | None]] = [("scratch", 0, None)] if settings.scratch else []
    sources += [
        (run.snapshot(epoch).name, epoch, str(run.snapshot(epoch))) for epoch in sorted(set(config.keep_epochs))
    ]
    sources.append(("final", config.epochs, str(run.path)))
    rows = []
    for name, epoch, init in sources:
        notice(f"transfer to {spec.name}: {epochs} epochs from {name}")
        short = _short_training(config, settings, str(run.path / "transfer" / name), epochs, init)
        try:
            finished = resume(short.out) if RunFolder(short.out).is_run else train(short)
        except Interrupted as error:
            raise Interrupted(f"stopped while transfer is measured; {run.how_to_resume}", error.signal_number) from None
        result = read_json(finished.results)["val"]
        rows.append(Transfer(name, epoch, result["miou"], result["class_iou"]))
    write_json(
        run.transfer,
        {
            "kind": "transfer",
            "settings": {**dataclasses.asdict(settings), "epochs": epochs},
            "rows": [dataclasses.asdict(row) for row in rows],
        },
    )
    return rows


def _short_training(
    config: TrainConfig, settings: TransferConfig, out: str, epochs: int, init: str | None
) -> TrainConfig:
    """The settings of one short training: those of the recipe `baseline` but for what the run itself is."""
    return TrainConfig(
        data=settings.data or "",
        data_root=settings.data_root,
        out=out,
        init=init,
        epochs=epochs,
        batch_size=settings.batch_size,
        image_size=settings.image_size,
        validate_every=0,
        model=config.model,
        seed=config.seed,
        device=config.device,
        precision=config.precision,
        workers=config.workers,
    )
