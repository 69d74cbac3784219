"""What shards cost in reading, and what a Ray cluster of this machine labels: the rates behind docs/scale.md.

Rates are taken in the time that cores gave to the process, so that what else runs on the machine hardly shows in them.

python benchmarks/scale.py --data DATA --pictures 3000 --out benchmarks/results/scale.json
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import cv2
import torch
from scale_page import write_page

from effiseg.config.data import AugmentationConfig
from effiseg.config.loss import DistillationConfig
from effiseg.config.model import Variant
from effiseg.config.prediction import PredictionConfig
from effiseg.config.training import TrainConfig
from effiseg.data.dataset import SegmentationDataset
from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.sample_order import order_of
from effiseg.data.samples import list_samples
from effiseg.data.shards.writing import shard_dataset
from effiseg.distillation.teacher import SegFormerTeacher
from effiseg.environment import describe_environment
from effiseg.files import read_json, write_json
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.prediction.lake import predict_on_ray
from effiseg.prediction.predict import predict
from effiseg.training.distillation_task import DistillationTask

_POLL_SECONDS = 0.5


def main(argv: list[str]) -> int:
    """Measure, write the results and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="a labelled data set: its train split is read")
    parser.add_argument("--data_root")
    parser.add_argument("--pictures", type=int, default=3000, help="pictures to label: links to those of --data")
    parser.add_argument("--variant", default="n", help="size of the network that labels")
    parser.add_argument("--size", default="192x256", help="its input")
    parser.add_argument("--actors", type=int, nargs="*", default=[1, 2], help="numbers of actors of a Ray cluster")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    words = parser.parse_args(argv)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    spec = load_dataset_spec(words.data, words.data_root)
    height, width = map(int, words.size.split("x"))
    with tempfile.TemporaryDirectory(prefix="effiseg-scale-") as name:
        folder = Path(name)
        reading = measure_reading(spec, folder / "shards", (height, width), words.rounds)
        model = save_model(words.variant, (height, width), folder / "model")
        distilling = measure_distilling(words.variant, (height, width), words.rounds)
        labelling = measure_labelling(spec, model, folder, words.pictures, words.actors)
    result = {
        "command": shlex.join(["python", "benchmarks/scale.py", *argv]),
        "environment": describe_environment(),
        "load": os.getloadavg()[0],
        "reading": reading,
        "distilling": distilling,
        "labelling": {"variant": words.variant, "image_size": [height, width], **labelling},
    }
    write_json(words.out, result)
    write_page()
    return 0


def measure_reading(spec: DatasetSpec, folder: Path, size: tuple[int, int], rounds: int) -> dict[str, Any]:
    """Images a core-second of decoding and augmentation in one process, from files and from shards in turns."""
    splits = shard_dataset(spec, folder, shard_mb=16)
    sides = {"files": spec, "shards": load_dataset_spec(folder / "data.yaml")}
    knobs = AugmentationConfig().filled_from("standard")
    sets, orders = {}, {}
    for name, side in sides.items():
        samples = list_samples(side, "train")
        sets[name] = SegmentationDataset(samples, side, size, "keep_ratio", knobs, 0)
        orders[name] = order_of(samples, 16).part((0, 0), (), 0, len(samples)).tolist()
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):  # the first brings the files into memory
        for name, dataset in sets.items():
            began = time.process_time()
            for index in orders[name]:
                dataset[number, index]
            if number:
                rates[name].append(len(dataset) / (time.process_time() - began))
    return {
        "images": splits["train"]["samples"],
        "bytes": splits["train"]["bytes"],
        "shards": len(splits["train"]["shards"]),
        "image_size": list(size),
        "images_per_second": {name: statistics.median(found) for name, found in rates.items()},
        "spread": {name: [min(found), max(found)] for name, found in rates.items()},
    }


def measure_distilling(variant: str, size: tuple[int, int], rounds: int) -> dict[str, Any]:
    """Images a core-second of a training step without labels, forward, backward and optimizer's, in one thread."""
    torch.manual_seed(0)
    config = TrainConfig(distillation=DistillationConfig(kl_weight=1.0, feature_weight=1.0))
    task = DistillationTask(
        SegFormer(cast(Variant, variant), 11), [SegFormerTeacher(SegFormer("b1", 11))], config, None
    ).train()
    optimizer = task.configure_optimizers()
    images = torch.randint(0, 256, (4, 3, *size), dtype=torch.uint8)
    labels = torch.full((4, *size), 255, dtype=torch.uint8)
    rates = []
    for number in range(rounds + 1):
        began = time.process_time()
        optimizer.zero_grad()
        task.loss_terms(images, labels)["loss"].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if number:
            rates.append(len(images) / (time.process_time() - began))
    return {"variant": variant, "teacher": "b1", "batch_size": 4, "images_per_second": statistics.median(rates)}


def save_model(variant: str, size: tuple[int, int], folder: Path) -> Path:
    """A network whose weights do not matter for its speed."""
    torch.manual_seed(0)
    network = SegFormer(cast(Variant, variant), 11)
    network.metadata = ModelMetadata(
        names=tuple(f"class {index}" for index in range(11)), image_size=size, resize="keep_ratio"
    )
    save_pretrained(network, folder)
    return folder


def measure_labelling(
    spec: DatasetSpec, model: Path, folder: Path, count: int, numbers: Sequence[int]
) -> dict[str, Any]:
    """Pictures a second, and a core-second, without a cluster and by actors, and the memory of it all."""
    source = folder / "pictures"
    source.mkdir()
    images = [Path(sample.image).resolve() for sample in list_samples(spec, "train")]
    for index in range(count):
        image = images[index % len(images)]
        (source / f"{index:06d}{image.suffix}").symlink_to(image)
    given: dict[str, Any] = {"model": str(model), "source": [str(source)], "device": "cpu", "save": ["labels"]}
    found: dict[str, Any] = {"pictures": count, "bytes": sum(image.stat().st_size for image in images) // len(images)}
    few = folder / "few"
    few.mkdir()
    for path in sorted(source.iterdir())[: count // 5]:
        (few / path.name).symlink_to(path.resolve())
    began = time.process_time()
    report = predict(
        PredictionConfig(**{**given, "source": [str(few)], "out": folder / "here"}), str(model), folder / "here"
    )
    worked = time.process_time() - began
    found["here"] = {"per_core": report.images / worked, "images_per_second": report.images / report.seconds}
    for actors in numbers:
        config = PredictionConfig(
            **given, out=folder / f"ray{actors}", on="ray", ray_actors=actors, ray_part=count // 30
        )
        done = [0]
        memory: list[tuple[int, int]] = []
        with watched_memory(done, memory):
            report = predict_on_ray(config, lambda pictures, total: done.__setitem__(0, pictures))  # noqa: B023
        before, after = (max(size for pictures, size in memory if pictures <= mark) for mark in (count // 3, count))
        records = [read_json(path) for path in (folder / f"ray{actors}" / "parts").iterdir()]
        found[f"ray{actors}"] = {
            "per_core": report.images / sum(record["core_seconds"] for record in records),
            "images_per_second": report.images / report.seconds,
            "memory_at_a_third": before,
            "memory_at_the_end": after,
        }
    labels = list((folder / "here" / "labels").iterdir())
    found["label_bytes"] = sum(path.stat().st_size for path in labels) // len(labels)
    return found


@contextmanager
def watched_memory(done: list[int], memory: list[tuple[int, int]]) -> Iterator[None]:
    """Note (pictures done, bytes) of this process and all that it started, shared pages counted in parts."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_POLL_SECONDS):
            memory.append((done[0], sum(map(_proportional_bytes, _family(os.getpid())))))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _family(process: int) -> Iterator[int]:
    yield process
    try:
        children = Path(f"/proc/{process}/task").glob("*/children")
        for child in " ".join(path.read_text() for path in children).split():
            yield from _family(int(child))
    except OSError:  # it has ended
        return


def _proportional_bytes(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
