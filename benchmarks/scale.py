"""What a core reads, distils and labels, what actors of a Ray cluster do, and their memory: the rates of docs/scale.md.

    python benchmarks/scale.py --data camvid --data_root DIR             # all of it, minutes on two cores
    python benchmarks/scale.py --data camvid --data_root DIR --parts memory

Every part is written to the file as soon as it is measured; the same command goes on where it was stopped. Rates are
taken in the time that cores gave to the process, so that what else runs on the machine hardly shows in them; images a
second by the clock are those of the machine as it was, whose load stands beside them. Without --json the section in
docs/scale.md is written too (benchmarks/scale_page.py).
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import cv2
import torch
from scale_page import RESULTS, write_page

from effiseg.allocator import keep_freed_memory
from effiseg.config.data import AugmentationConfig, parse_image_size
from effiseg.config.loss import DistillationConfig
from effiseg.config.model import Variant
from effiseg.config.prediction import PredictionConfig
from effiseg.config.training import TrainConfig
from effiseg.data.dataset import SegmentationDataset
from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.regular_file import file_of
from effiseg.data.sample_order import order_of
from effiseg.data.samples import list_samples
from effiseg.data.shards.writing import shard_dataset
from effiseg.distillation.teacher import SegFormerTeacher
from effiseg.environment import describe_environment
from effiseg.files import read_json, write_json
from effiseg.inference.ray_pool import STORE_BYTES
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.prediction.lake import predict_on_ray
from effiseg.prediction.predict import predict
from effiseg.training.distillation_task import DistillationTask

SETTINGS = ("data", "data_root", "variant", "teacher", "image_size", "images", "pictures", "lake", "rounds")
BATCHES = (1, 4, 16)
BATCH = 4
"""Images of a pass on the cluster, and of a training step."""
_POLL_SECONDS = 0.5
_WINDOW = 10
"""Memory is a median over this part of the pictures."""


@dataclass
class Place:
    """Everything that the parts measure on."""

    options: argparse.Namespace
    folder: Path

    @cached_property
    def spec(self) -> DatasetSpec:
        """The data set."""
        return load_dataset_spec(self.options.data, self.options.data_root)

    @cached_property
    def images(self) -> list[Path]:
        """Image files of its train split."""
        return [file_of(sample.image).resolve() for sample in list_samples(self.spec, "train")]

    @cached_property
    def model(self) -> Path:
        """A network whose weights do not matter for its speed."""
        torch.manual_seed(0)
        names = self.spec.names
        network = SegFormer(self.options.variant, len(names))
        network.metadata = ModelMetadata(names=names, image_size=self.options.image_size, resize="keep_ratio")
        save_pretrained(network, self.folder / "model")
        return self.folder / "model"

    def pictures(self, count: int) -> Path:
        """A folder of so many pictures: links to the images, again and again."""
        folder = self.folder / f"pictures-{count}"
        if not folder.is_dir():
            folder.mkdir()
            for index in range(count):
                image = self.images[index % len(self.images)]
                (folder / f"{index:06d}{image.suffix}").symlink_to(image)
        return folder

    def settings(self, out: str, count: int, **changes: Any) -> PredictionConfig:
        """The settings of labelling so many pictures on the CPU."""
        given = {"model": str(self.model), "source": [str(self.pictures(count))], "out": self.folder / out}
        return PredictionConfig(**{"device": "cpu", "save": ["labels"], "batch_size": BATCH, **given, **changes})


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the parts that the file does not have yet."""
    options = parse(arguments)
    keep_freed_memory()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    settings = {name: getattr(options, name) for name in SETTINGS}
    settings["image_size"] = list(options.image_size)
    result: dict[str, Any] = read_json(options.json) if options.json.is_file() else {}
    if result.get("settings") != settings:
        result = {"benchmark": "scale", "settings": settings, "parts": {}}
    with tempfile.TemporaryDirectory(prefix="effiseg-scale-") as folder:
        place = Place(options, Path(folder))
        for part in options.parts:
            if part in result["parts"]:
                continue
            print(f"{part} …", file=sys.stderr, flush=True)
            load, began = os.getloadavg()[0], time.monotonic()
            found = PARTS[part](place)
            result["parts"][part] = {"load": load, "seconds": time.monotonic() - began, **found}
            result["command"] = shlex.join(["python", "benchmarks/scale.py", *(arguments or sys.argv[1:])])
            result["environment"] = describe_environment()
            write_json(options.json, result)
    print(f"written to {options.json}")
    if options.json.resolve() == RESULTS:
        write_page()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a labelled data set, whose train split is read")
    parser.add_argument("--data_root")
    parser.add_argument("--variant", default="n", choices=get_args(Variant), help="size of the network")
    parser.add_argument("--teacher", default="b1", choices=get_args(Variant), help="size of its teacher")
    parser.add_argument("--image_size", type=parse_image_size, default=(192, 256), help="its input")
    parser.add_argument("--images", type=int, default=100, help="images that are decoded and varied in a round")
    parser.add_argument("--pictures", type=int, default=160, help="pictures that each way of labelling labels")
    parser.add_argument("--lake", type=int, default=3000, help="pictures over which memory is watched")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", type=lambda text: text.split(","), default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"--parts: found {unknown[0]!r}; choose from {', '.join(PARTS)}")
    return options


def measure_reading(place: Place) -> dict[str, Any]:
    """Images a core-second of decoding and augmentation in one process, from files and from shards in turns."""
    options = place.options
    splits = shard_dataset(place.spec, place.folder / "shards", shard_mb=16)
    sides = {"files": place.spec, "shards": load_dataset_spec(place.folder / "shards" / "data.yaml")}
    knobs = AugmentationConfig().filled_from("standard")
    sets, orders = {}, {}
    for name, side in sides.items():
        samples = list_samples(side, "train")
        sets[name] = SegmentationDataset(samples, side, options.image_size, "keep_ratio", knobs, 0)
        orders[name] = order_of(samples, 16).part((0, 0), (), 0, min(options.images, len(samples))).tolist()
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(options.rounds + 1):  # the first brings the files into memory
        for name, dataset in sets.items():
            began = time.process_time()
            for index in orders[name]:
                dataset[number, index]
            if number:
                rates[name].append(len(orders[name]) / (time.process_time() - began))
    return {
        "images": len(orders["files"]),
        "bytes": splits["train"]["bytes"] / splits["train"]["samples"],
        "shards": len(splits["train"]["shards"]),
        "per_core": {name: statistics.median(found) for name, found in rates.items()},
        "spread": {name: [min(found), max(found)] for name, found in rates.items()},
    }


def measure_distilling(place: Place) -> dict[str, Any]:
    """Images a core-second of a training step without labels, forward, backward and optimizer's, in one thread."""
    options, classes = place.options, len(place.spec.names)
    torch.manual_seed(0)
    config = TrainConfig(distillation=DistillationConfig(kl_weight=1.0, feature_weight=1.0))
    teacher = SegFormerTeacher(SegFormer(options.teacher, classes))
    student = SegFormer(options.variant, classes)
    task = DistillationTask(student, [teacher], config, None).train()
    optimizer = task.configure_optimizers()
    images = torch.randint(0, 256, (BATCH, 3, *options.image_size), dtype=torch.uint8)
    labels = torch.full((BATCH, *options.image_size), student.metadata.ignore_index, dtype=torch.uint8)
    rates = []
    for number in range(options.rounds + 1):
        began = time.process_time()
        optimizer.zero_grad()
        task.loss_terms(images, labels)["loss"].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if number:
            rates.append(BATCH / (time.process_time() - began))
    return {"per_core": statistics.median(rates), "spread": [min(rates), max(rates)]}


def measure_labelling(place: Place) -> dict[str, Any]:
    """Pictures a core-second without a cluster, by images of a pass, and what pictures and labels weigh."""
    found: dict[int, float] = {}
    count = place.options.pictures
    for batch in BATCHES:
        config = place.settings(f"here-{batch}", count, batch_size=batch)
        assert config.out is not None
        began = time.process_time()
        report = predict(config, config.model, config.out)
        found[batch] = report.images / (time.process_time() - began)
    labels = [path.stat().st_size for path in (place.folder / f"here-{BATCH}" / "labels").iterdir()]
    pictures = [place.images[index % len(place.images)].stat().st_size for index in range(count)]
    return {
        "per_core": {str(batch): rate for batch, rate in found.items()},
        "picture_bytes": statistics.mean(pictures),
        "label_bytes": statistics.mean(labels),
    }


def measure_actors(place: Place) -> dict[str, Any]:
    """Pictures a core-second, and a second by the clock of the actors, of 1 and of 2 actors with a core each."""
    found: dict[str, Any] = {}
    for actors in (1, 2):
        config = place.settings(f"ray-{actors}", place.options.pictures, on="ray", ray_actors=actors, ray_part=16)
        report = predict_on_ray(config)
        records = [read_json(path) for path in (place.folder / f"ray-{actors}" / "parts").iterdir()]
        working = sum(record["seconds"] for record in records) / actors
        found[str(actors)] = {
            "per_core": report.images / sum(record["core_seconds"] for record in records),
            "images_per_second": report.images / working,
            "seconds": report.seconds,
        }
    return found


def measure_memory(place: Place) -> dict[str, Any]:
    """Bytes of the driver, Ray's processes and two actors, around a third of the pictures and at their end."""
    count = place.options.lake
    config = place.settings("lake", count, on="ray", ray_actors=2, ray_part=20)
    done = [0]
    with watched_memory(done) as memory:
        report = predict_on_ray(config, lambda pictures, total: done.__setitem__(0, pictures))
    return {"object_store_bytes": STORE_BYTES, "seconds": report.seconds, **summarized(memory, count)}


def summarized(memory: Sequence[tuple[int, int]], count: int) -> dict[str, Any]:
    """Median bytes in a tenth of the pictures that follows the first third, and in the last tenth."""
    places = {
        "at_a_third": (count // 3, count // 3 + count // _WINDOW),
        "at_the_end": (count - count // _WINDOW, count),
    }
    found: dict[str, Any] = {"pictures": count}
    for name, (first, last) in places.items():
        sizes = [size for pictures, size in memory if first <= pictures < last]
        found[name] = {"pictures": [first, last], "looks": len(sizes), "bytes": statistics.median(sizes)}
    return found


@contextmanager
def watched_memory(done: list[int]) -> Iterator[list[tuple[int, int]]]:
    """Note (pictures done, bytes) of this process and all that it started, shared pages counted in parts."""
    ended, memory = threading.Event(), list[tuple[int, int]]()

    def watch() -> None:
        while not ended.wait(_POLL_SECONDS):
            memory.append((done[0], sum(map(_proportional_bytes, _family(os.getpid())))))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield memory
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


PARTS: dict[str, Callable[[Place], dict[str, Any]]] = {
    "reading": measure_reading,
    "distilling": measure_distilling,
    "labelling": measure_labelling,
    "actors": measure_actors,
    "memory": measure_memory,
}


if __name__ == "__main__":
    main()
