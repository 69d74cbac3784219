"""Images a second from full-size PNGs, both sides in one process."""

from __future__ import annotations

import csv
import os
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch
from photographs import image_path, mask_path
from side_by_side import transformers_model
from training_loops import effiseg_training, plain_loader, run_epoch, transformers_training
from training_parts import Measurement

from effiseg.config.data import AugmentPreset
from effiseg.config.training import TrainConfig, TrainingPrecision
from effiseg.data.datamodule import SegmentationDataModule
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.training.trainer import build_student, build_task, train


def measure_end_to_end(measurement: Measurement) -> dict[str, Any]:
    """Images a second from full-size PNGs: the published loop, the same with workers, and real runs of effiseg."""
    device = measurement.prepare()
    folder = Path(measurement.data).parent
    images = [image_path(folder, index) for index in range(measurement.pairs)]
    pairs = [(image, mask_path(image)) for image in images]

    def plain(workers: int, precision: TrainingPrecision = "float32") -> Callable[[], dict[str, Any]]:
        training = transformers_training(transformers_model(measurement.variant), device, precision)
        loader = plain_loader(pairs, measurement.size, measurement.batch, workers)
        run_epoch(islice(loader, 1), training)
        return lambda: run_epoch(loader, training)

    turns: dict[str, Callable[[], dict[str, Any]]] = {
        "transformers": plain(0),
        "transformers workers": plain(measurement.workers),
        "effiseg": lambda: real_run(measurement, "paper"),
    }
    if measurement.extras:
        turns["effiseg standard"] = lambda: real_run(measurement, "standard")
    if measurement.precision != "float32":
        turns[f"transformers workers {measurement.precision}"] = plain(measurement.workers, measurement.precision)
    samples: dict[str, list[dict[str, Any]]] = {name: [] for name in turns}
    for number in range(measurement.rounds):
        for name in list(turns) if number % 2 == 0 else list(turns)[::-1]:
            if number == 0 or name != "effiseg standard":
                samples[name].append(turns[name]())
    loop = own_loop(measurement, device)
    rates = {name: median(rates_of(runs)) for name, runs in samples.items()}
    return {
        "image_size": list(measurement.size),
        "batch": measurement.batch,
        "workers": measurement.workers,
        "images_per_second": rates,
        "first_epoch_images_per_second": {
            name: median(run["rows"][0]["images_per_second"] for run in runs)
            for name, runs in samples.items()
            if name.startswith("effiseg")
        },
        "speedup": rates["effiseg"] / rates["transformers"],
        "speedup_over_workers": rates["effiseg"] / rates["transformers workers"],
        "phases_ms": {
            name: median_phases([run["phases_ms"] for run in runs])
            for name, runs in samples.items()
            if not name.startswith("effiseg")
        }
        | {"effiseg": loop["phases_ms"]},
        "effiseg_loop": loop,
        "samples": samples,
    }


def rates_of(runs: list[dict[str, Any]]) -> list[float]:
    """Images a second of every epoch that counts: of effiseg's runs neither the first nor the last."""
    epochs = [row for run in runs for row in (run["rows"][1:-1] if "rows" in run else [run])]
    return [epoch["images_per_second"] for epoch in epochs]


def median_phases(samples: list[dict[str, float]]) -> dict[str, float]:
    """Phase by phase."""
    return {phase: median(sample[phase] for sample in samples) for phase in samples[0]}


def real_run(measurement: Measurement, augment: AugmentPreset) -> dict[str, Any]:
    """`effiseg train` on the data with an empty cache: what its metrics.csv says, and seconds from start to end."""
    with tempfile.TemporaryDirectory(prefix="effiseg-benchmark-") as folder:
        os.environ["EFFISEG_CACHE"] = str(Path(folder) / "cache")
        out = str(Path(folder) / "run")
        config = end_to_end_config(measurement, augment, out=out, epochs=measurement.epochs, checkpoint_minutes=60.0)
        start = time.perf_counter()
        run = train(config)
        seconds = time.perf_counter() - start
        with run.metrics.open(encoding="utf-8") as file:
            rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    epochs = sum(measurement.pairs / row["images_per_second"] for row in rows)
    return {"rows": rows, "seconds": seconds, "seconds_outside_epochs": seconds - epochs}


def own_loop(measurement: Measurement, device: torch.device) -> dict[str, Any]:
    """The task and the data module of a run in a bare loop: its second epoch, phase by phase.

    On a GPU also the share of that epoch in which kernels ran.
    """
    with tempfile.TemporaryDirectory(prefix="effiseg-benchmark-") as folder:
        os.environ["EFFISEG_CACHE"] = folder
        config = end_to_end_config(measurement, "paper", epochs=3)
        spec = load_dataset_spec(config.data)
        training = effiseg_training(build_task(config, build_student(config, spec), (), None), device)
        data = SegmentationDataModule(config, spec)
        batches = iter(data.train_dataloader())
        run_epoch(islice(batches, data.batches_per_epoch), training)
        if device.type != "cuda":
            return run_epoch(islice(batches, data.batches_per_epoch), training)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            epoch = run_epoch(islice(batches, data.batches_per_epoch), training)
        kernels = sum(row.self_device_time_total for row in profile.key_averages()) / 1e6
        return epoch | {"gpu_busy_share": kernels / epoch["seconds"]}


def end_to_end_config(measurement: Measurement, augment: AugmentPreset, **changes: Any) -> TrainConfig:
    """Settings of a run as it is measured end to end."""
    return measurement.config(
        precision=measurement.precision, compile=measurement.compile, augment=augment, cache="disk", **changes
    )
