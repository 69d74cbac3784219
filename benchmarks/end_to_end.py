"""Files in, labels out: images a second of `effiseg predict`, `effiseg evaluate` and a plain loop over transformers.

    python benchmarks/end_to_end.py                                 # both sizes: benchmarks/results/end_to_end.json
    python benchmarks/end_to_end.py --model RUN --data camvid --data_root DIR    # a trained B0 and its val split
    python benchmarks/end_to_end.py --quick --json out.json         # a tiny size: only shows that it runs

All sides read the same files with the same weights: without --model B0 with random ones. Without --data the files are
drawn photographs twice as large as the network's input, which decode as slowly as Cityscapes' do.

The plain loop is that of transformers' documentation, one image at a time: Pillow opens it, the image processor resizes
and normalizes it, SegFormer computes, the processor enlarges the logits and takes the best class. To predict, labels
are saved as PNG; to evaluate, masks are read and pixels counted with one `bincount`, from which mIoU follows. effiseg
does what its commands do, with `--save labels`; its evaluation takes boundary IoU too.

Every turn has a process of its own, loads the network, does some images that do not count, and then is timed over all
of them. Contenders take turns in changing order. The plain loop runs under glibc's default allocator, as it would, and
once more with freed memory kept, as effiseg's commands have it. Both must give the same labels to an image of the
network's size; to files that are resized, by Pillow there and OpenCV here, they need not.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from photographs import describe_pairs, make_pairs
from PIL import Image
from side_by_side import Allocator, randomize, run_alone, transformers_model, use_allocator

from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.samples import evenly_spread, list_samples
from effiseg.data.transforms import UInt8Array
from effiseg.environment import available_cores, describe_environment
from effiseg.evaluation.evaluator import evaluate
from effiseg.files import write_json
from effiseg.inference.framing import Framing
from effiseg.inference.network import load_network
from effiseg.inference.predictor import Predictor
from effiseg.metrics.confusion_matrix import class_iou
from effiseg.prediction.predict import predict_sources
from effiseg.prediction.sources import Source
from effiseg.run_folder import resolve_model

DEFAULT_JSON = Path(__file__).parent / "results" / "end_to_end.json"
SIZES = ((384, 512), (512, 1024))
TASKS = ("predict", "evaluate")
TARGET = 4.5
"""Images a second of both commands over the plain loop's, at both sizes."""
WARM_UP = 4
LEAST_EQUAL_LABELS = 0.999
"""Share of pixels on which both sides must agree where nothing is resized: of two equal logits either may win."""


@dataclass(frozen=True)
class Setting:
    """What the contenders of one size share."""

    model: str
    """Folder of the weights."""
    data: str
    data_root: str | None
    split: str
    images: int
    """How many, spread over the split."""
    size: tuple[int, int]
    """Network input."""
    threads: int
    out: Path
    """Folder for the label files."""

    def files(self) -> list[tuple[Path, Path]]:
        """Image and mask of every sample."""
        samples = list_samples(load_dataset_spec(self.data, self.data_root), self.split)
        return [(Path(sample.image), Path(sample.mask)) for sample in evenly_spread(samples, self.images)]


@dataclass(frozen=True)
class Contender:
    """One side doing one thing."""

    software: str
    """effiseg or transformers."""
    task: str
    """predict or evaluate."""
    allocator: Allocator

    @property
    def name(self) -> str:
        """Unique."""
        return f"{self.software} {self.task}, allocator {self.allocator}"


CONTENDERS = tuple(
    Contender(software, task, allocator)  # type: ignore[arg-type]
    for task in TASKS
    for software, allocator in (("effiseg", "tuned"), ("transformers", "default"), ("transformers", "tuned"))
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every size, print the ratios, write the JSON file."""
    options = parse(arguments)
    result: dict[str, Any] = {
        "benchmark": "end_to_end",
        "quick": options.quick,
        "command": shlex.join(["python", "benchmarks/end_to_end.py", *(arguments or sys.argv[1:])]),
        "environment": describe_environment(),
        "sizes": [],
    }
    with tempfile.TemporaryDirectory(prefix="effiseg-end-to-end-") as folder:
        for size in ((64, 96),) if options.quick else SIZES:
            print(f"{size[0]}x{size[1]} …", file=sys.stderr, flush=True)
            result["sizes"].append(measure_size(setting_of(options, size, Path(folder)), options.rounds))
            result["targets"] = targets_of(result["sizes"])
            write_json(options.json, result)
    for target in result["targets"]:
        print(f"{target['verdict']:<7} {target['name']}: {target['reached']:.2f}x (target {target['wanted']}x)")
    print(f"written to {options.json}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", help="run or model folder of a B0 with LayerNorms; its classes are the data's")
    parser.add_argument("--data", help="a data set with files of its own, instead of drawn photographs")
    parser.add_argument("--data_root")
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=int, default=64, help="how many, spread over the split")
    parser.add_argument("--rounds", type=int, default=5, help="turns of every contender")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--quick", action="store_true", help="a tiny size, one round: only shows that it runs")
    parser.add_argument("--json", type=Path, default=DEFAULT_JSON)
    options = parser.parse_args(arguments)
    options.threads = options.threads or available_cores()
    if options.quick:
        options.images, options.rounds = min(options.images, 4), 1
    return options


def setting_of(options: argparse.Namespace, size: tuple[int, int], folder: Path) -> Setting:
    """Weights and files of one size."""
    data, data_root, split = options.data, options.data_root, options.split
    if data is None:
        files = folder / f"photographs-{size[0]}x{size[1]}"
        data, split = str(make_pairs(files, options.images, (2 * size[0], 2 * size[1]))), "train"
    model = folder / "model"
    if options.model is not None:
        model = Path(resolve_model(options.model))
    elif not model.exists():
        torch.manual_seed(0)
        network = transformers_model("b0", classes=load_dataset_spec(data, data_root).num_classes)
        randomize(network)
        network.save_pretrained(model)
    out = folder / f"labels-{size[0]}x{size[1]}"
    return Setting(str(model), data, data_root, split, options.images, size, options.threads, out)


def measure_size(setting: Setting, rounds: int) -> dict[str, Any]:
    """Images a second of every contender in every round, and how far their answers agree."""
    agreement = run_alone(equal_labels, setting)
    assert agreement >= LEAST_EQUAL_LABELS, f"only {100 * agreement:.2f} % of the labels are equal"
    samples: dict[str, list[float]] = {contender.name: [] for contender in CONTENDERS}
    miou: dict[str, float] = {}
    for number in range(rounds):
        for contender in CONTENDERS if number % 2 == 0 else CONTENDERS[::-1]:
            rate, found = run_alone(take_turn, contender, setting)
            samples[contender.name].append(rate)
            miou |= {contender.name: found} if contender.task == "evaluate" else {}
    rates = {name: median(values) for name, values in samples.items()}
    files = setting.files()
    with Image.open(files[0][0]) as image:
        file_size = [image.height, image.width]
    return {
        "image_size": list(setting.size),
        "images": len(files),
        "files": {"size": file_size, "format": files[0][0].suffix, **described(setting)},
        "threads": setting.threads,
        "images_per_second": rates,
        "speedup": {
            task: {
                allocator: rates[f"effiseg {task}, allocator tuned"]
                / rates[f"transformers {task}, allocator {allocator}"]
                for allocator in ("default", "tuned")
            }
            for task in TASKS
        },
        "equal_labels": agreement,
        "equal_labels_of_files": equal_files(setting),
        "miou": miou,
        "samples": samples,
    }


def described(setting: Setting) -> dict[str, Any]:
    """What decoding costs, where the files are drawn photographs."""
    folder = Path(setting.data).parent
    return describe_pairs(folder, setting.images) if setting.data_root is None and setting.split == "train" else {}


def targets_of(sizes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Both commands at every size beside the plain loop as it would be run."""
    return [
        {
            "name": f"effiseg {task} over a plain loop, {size['image_size'][0]}x{size['image_size'][1]}",
            "wanted": TARGET,
            "reached": size["speedup"][task]["default"],
            "verdict": "met" if size["speedup"][task]["default"] >= TARGET else "missed",
        }
        for size in sizes
        for task in TASKS
    ]


def take_turn(contender: Contender, setting: Setting) -> tuple[float, float]:
    """Images a second, and mIoU (percent) where the task is to evaluate; runs in a process of its own."""
    use_allocator(contender.allocator)
    torch.set_num_threads(setting.threads)
    makers: dict[tuple[str, str], Callable[[Setting], Callable[[int], float]]] = {
        ("effiseg", "predict"): effiseg_predict,
        ("effiseg", "evaluate"): effiseg_evaluate,
        ("transformers", "predict"): lambda setting: transformers_loop(setting, save=True),
        ("transformers", "evaluate"): lambda setting: transformers_loop(setting, save=False),
    }
    run = makers[contender.software, contender.task](setting)
    run(WARM_UP)
    count = len(setting.files())
    start = time.perf_counter()
    miou = run(count)
    return count / (time.perf_counter() - start), miou


def effiseg_predict(setting: Setting) -> Callable[[int], float]:
    """What `effiseg predict --save labels` does with the first images."""
    predictor = Predictor(setting.model, device="cpu", image_size=setting.size, resize="fixed")
    sources = [Source(image.stem, str(image), "image") for image, _ in setting.files()]

    def run(count: int) -> float:
        report = predict_sources(
            predictor, sources[:count], setting.out / "effiseg", outputs=("labels",), existing="overwrite"
        )
        assert not report.unreadable, report.unreadable
        return 0.0

    return run


def effiseg_evaluate(setting: Setting) -> Callable[[int], float]:
    """What `effiseg evaluate` does."""
    network, framing = load_network(setting.model, device="cpu"), Framing(setting.size, "fixed")
    spec = load_dataset_spec(setting.data, setting.data_root)

    def run(count: int) -> float:
        result = evaluate(network, framing, spec, setting.split, boundary=True, most_images=count, workers=None)
        return result.miou or 0.0

    return run


def transformers_loop(setting: Setting, *, save: bool) -> Callable[[int], float]:
    """The plain loop, which saves labels or counts pixels."""
    label = transformers_labeler(setting)
    spec = load_dataset_spec(setting.data, setting.data_root)
    assert spec.label_mapping is None, "the plain loop reads masks of class indices"
    classes, files = spec.num_classes, setting.files()
    out = setting.out / "transformers"
    out.mkdir(parents=True, exist_ok=True)

    def run(count: int) -> float:
        counts = np.zeros(classes * classes, np.int64)
        for image, mask in files[:count]:
            found = label(Image.open(image))
            if save:
                Image.fromarray(found).save(out / f"{image.stem}.png")
                continue
            truth = np.asarray(Image.open(mask))
            valid = truth != spec.ignore_index
            pairs = classes * truth[valid].astype(np.int64) + found[valid]
            counts += np.bincount(pairs, minlength=classes * classes)
        iou = class_iou(torch.from_numpy(counts).view(classes, classes))
        return 0.0 if save else 100 * float(iou.nanmean())

    return run


def transformers_labeler(setting: Setting) -> Callable[[Image.Image], UInt8Array]:
    """An image's labels as transformers' documentation has them computed."""
    from transformers import SegformerForSemanticSegmentation, SegformerImageProcessor
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = SegformerForSemanticSegmentation.from_pretrained(setting.model).eval()
    processor = SegformerImageProcessor(size={"height": setting.size[0], "width": setting.size[1]})

    def label(image: Image.Image) -> UInt8Array:
        image = image.convert("RGB")
        inputs = processor(images=image, return_tensors="pt")
        with torch.inference_mode():
            outputs = model(**inputs)
        (found,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[image.size[::-1]])
        labels: UInt8Array = found.numpy().astype(np.uint8)
        return labels

    return label


def equal_labels(setting: Setting) -> float:
    """Share of pixels to which both sides give the same label, of an image that neither needs to resize."""
    image = Image.open(setting.files()[0][0]).convert("RGB").resize(setting.size[::-1])
    ours = Predictor(setting.model, device="cpu", image_size=setting.size, resize="fixed")(image).labels
    return float((ours == transformers_labeler(setting)(image)).mean())


def equal_files(setting: Setting) -> float:
    """Share of pixels to which both sides gave the same label in the files that they saved."""
    equal = total = 0
    for image, _ in setting.files():
        ours = np.asarray(Image.open(setting.out / "effiseg" / "labels" / f"{image.stem}.png"))
        theirs = np.asarray(Image.open(setting.out / "transformers" / f"{image.stem}.png"))
        equal += int((ours == theirs).sum())
        total += ours.size
    return equal / total


if __name__ == "__main__":
    main()
