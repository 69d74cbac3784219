"""The evaluator against one plain interpolation per image, and its bookkeeping."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from effiseg.config.training import Protocol
from effiseg.data.dataset import EvaluationDataset, EvaluationSample
from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.samples import list_samples
from effiseg.errors import DataError, ModelError, ResourceError, UsageError
from effiseg.evaluation.evaluator import check_classes, evaluate
from effiseg.evaluation.scores import SplitCounts, result_of_counts
from effiseg.inference.framing import Framing
from effiseg.inference.network import Network, Predict, trained_network
from effiseg.metrics.confusion_matrix import class_iou, confusion_counts, mean_iou
from effiseg.models.metadata import ModelMetadata
from effiseg.models.segformer import SegFormer
from effiseg.results import EvaluationResult


def samples_of(spec: DatasetSpec, size: tuple[int, int] = (40, 56)) -> list[EvaluationSample]:
    dataset = EvaluationDataset(list_samples(spec, "val"), spec, size, "keep_ratio")
    return [dataset[index] for index in range(len(dataset))]


def predict(images: Tensor) -> Tensor:
    """Logits of four classes that depend on the image alone, at a quarter of its size."""
    quarter = F.avg_pool2d(images.float(), 4, ceil_mode=True) / 255
    mixed = torch.stack([quarter[:, 0], quarter[:, 1], quarter[:, 2], quarter.mean(1) * 0.5], 1)
    return (mixed * 8).sin()


def score(predict: Predict, spec: DatasetSpec, framing: Framing | None = None, **options: Any) -> EvaluationResult:
    """A callable's result on val."""
    network = Network(predict, ModelMetadata(names=spec.names))
    return evaluate(network, framing or Framing((40, 56), batch_size=5), spec, "val", **options)


def expected_counts(sample: EvaluationSample, protocol: Protocol) -> Tensor:
    """The definition, written plainly."""
    logits = predict(sample.image[None])
    (height, width), label = sample.valid_size, sample.label
    if protocol == "quarter":
        step = label[None, None].float()
        for size in ((height, width), (math.ceil(height / 4), math.ceil(width / 4))):
            step = F.interpolate(step, size=size, mode="nearest")
        target = step[0, 0].long()
        prediction = logits[0].argmax(0)[: target.shape[0], : target.shape[1]]
    else:
        padded = sample.image.shape[-2:]
        size = (round(padded[0] * label.shape[0] / height), round(padded[1] * label.shape[1] / width))
        wide = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        target, prediction = label.long(), wide[0].argmax(0)[: label.shape[0], : label.shape[1]]
    return confusion_counts(prediction, target, 4)


@pytest.mark.parametrize("protocol", ["full", "quarter"])
def test_one_interpolation_to_the_labels_size(small_spec: DatasetSpec, protocol: Protocol) -> None:
    samples = samples_of(small_spec)
    assert len({tuple(sample.image.shape) for sample in samples}) > 1
    assert any(sample.valid_size != tuple(sample.image.shape[1:]) for sample in samples)
    each = [expected_counts(sample, protocol) for sample in samples]
    total = torch.stack(each).sum(0)
    result = score(predict, small_spec, protocol=protocol)
    # Ties of two classes to the last bit may fall either way.
    assert (torch.tensor(result.confusion) - total).abs().sum() <= 4
    assert result.miou == pytest.approx(100 * mean_iou(total), abs=0.05)
    assert result.protocol == protocol
    for sample, counts in zip(samples, each, strict=True):
        labelled = counts.sum(1) > 0
        if labelled.any():
            own = 100 * float(class_iou(counts)[labelled].mean())
            assert result.image_iou[sample.id] == pytest.approx(own, abs=0.5)
        else:
            assert result.image_iou[sample.id] is None


def test_counts_per_image_add_up_to_the_confusion_matrix(small_spec: DatasetSpec) -> None:
    result = score(predict, small_spec)
    assert list(result.image_counts) == list(result.image_iou)
    hits, truth, predicted = torch.tensor(list(result.image_counts.values())).sum(0)
    confusion = torch.tensor(result.confusion)
    assert torch.equal(hits, confusion.diagonal())
    assert torch.equal(truth, confusion.sum(1))
    assert torch.equal(predicted, confusion[:, :4].sum(0))
    ious = 100 * hits / (truth + predicted - hits)
    assert result.miou == pytest.approx(float(ious.nanmean()), abs=1e-4)


@pytest.mark.parametrize("protocol", ["full", "quarter"])
def test_a_perfect_predictor_reaches_100(small_spec: DatasetSpec, tmp_path: Path, protocol: Protocol) -> None:
    shutil.copytree(small_spec.root, tmp_path / "data")
    for path in (tmp_path / "data/labels/val").glob("*.png"):
        label = np.zeros_like(np.asarray(Image.open(path)))  # without fine structure: left is b, right is a
        label[:, : label.shape[1] // 2] = 1
        Image.fromarray(label).save(path)
    spec = load_dataset_spec(tmp_path / "data/blocks.yaml")
    where = {id_of(sample.image): sample for sample in samples_of(spec, (144, 144))}

    def know(images: Tensor) -> Tensor:
        logits = torch.zeros(len(images), 4, images.shape[2] // 4, images.shape[3] // 4)
        for image, scores in zip(images, logits, strict=True):
            middle = where[id_of(image)].valid_size[1] / 8 - 0.5
            ramp = middle - torch.arange(scores.shape[2])
            scores[0], scores[1], scores[2:] = -ramp, ramp, -1e9
        return logits

    result = score(know, spec, Framing((144, 144)), protocol=protocol)
    assert result.pixel_accuracy == pytest.approx(100, abs=1.5)
    assert result.class_iou["c"] is None
    assert result.class_iou["never"] is None


def id_of(image: Tensor) -> bytes:
    return image.numpy().tobytes()


def test_batches_make_no_difference_and_neighbours_of_equal_size_share_a_pass(
    small_spec: DatasetSpec,
) -> None:
    samples = samples_of(small_spec)
    shapes: list[tuple[int, ...]] = []
    done: list[int] = []

    def watched(images: Tensor) -> Tensor:
        assert images.dtype == torch.uint8
        assert torch.is_inference_mode_enabled()
        shapes.append(tuple(images.shape))
        return predict(images)

    whole = score(watched, small_spec, progress=lambda done_now, _: done.append(done_now))
    assert shapes[0][0] == 2
    assert sum(shape[0] for shape in shapes) == len(samples) == done[-1] == whole.images
    assert score(predict, small_spec, Framing((40, 56), batch_size=1)) == whole


def test_measures_are_percent_and_absent_is_none(small_spec: DatasetSpec) -> None:
    samples = samples_of(small_spec)[:1]
    result = score(
        lambda images: predict(images).mul(0).add_(torch.tensor([1.0, 0, 0, 0]).view(1, 4, 1, 1)), small_spec,
        most_images=1,
    )  # fmt: skip
    labelled = samples[0].label[samples[0].label != 255]
    share = 100 * float((labelled == 0).float().mean())
    assert result.class_iou == {"a": pytest.approx(share), "b": 0, "c": 0, "never": None}
    assert result.miou == pytest.approx(share / 3)
    assert result.mean_accuracy == pytest.approx(100 / 3)
    assert result.pixel_accuracy == pytest.approx(share)
    assert (result.split, result.dataset, result.names) == ("val", "blocks", list(small_spec.names))


def test_nothing_to_evaluate(small_spec: DatasetSpec) -> None:
    result = result_of_counts(SplitCounts.none(4), small_spec, "val", "full")
    assert (result.miou, result.pixel_accuracy, result.images) == (None, None, 0)


@pytest.fixture(scope="module")
def model(small_spec: DatasetSpec) -> SegFormer:
    torch.manual_seed(0)
    model = SegFormer("b0", 4)
    torch.nn.init.normal_(model.decode_head.classifier.weight)
    model.metadata = ModelMetadata(names=small_spec.names, image_size=(40, 56))
    return model


def test_a_model_is_the_callable_it_holds(small_spec: DatasetSpec, model: SegFormer) -> None:
    model.train()
    model.encoder.stages[0].eval()
    modes = [module.training for module in model.modules()]
    state, before = torch.get_rng_state(), [value.clone() for value in model.state_dict().values()]
    network = trained_network(model, source="runs/x")
    result = evaluate(network, Framing(batch_size=1), small_spec, "val")
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    for old, new in zip(before, model.state_dict().values(), strict=True):
        assert torch.equal(old, new)
    assert (result.model, result.image_size, result.resize) == ("runs/x", [40, 56], "keep_ratio")
    assert result.form == "as trained"
    model.eval()
    normalize = model.metadata.normalize
    by_hand = score(lambda images: model(normalize(images)), small_spec, most_images=1)
    assert by_hand.image_iou["s0"] == result.image_iou["s0"]
    batched = evaluate(network, Framing(batch_size=3), small_spec, "val")
    assert batched.miou == pytest.approx(result.miou, abs=0.1)


def test_input_size_can_be_overruled(small_spec: DatasetSpec, model: SegFormer) -> None:
    done: list[tuple[int, int]] = []
    result = evaluate(
        trained_network(model), Framing((32, 64), "fixed"), small_spec, "val", protocol="quarter",
        progress=lambda *counts: done.append(counts),
    )  # fmt: skip
    assert (result.image_size, result.resize, result.protocol) == ([32, 64], "fixed", "quarter")
    assert sum(map(sum, result.confusion)) <= 5 * 8 * 16
    assert done[-1] == (5, 5)


def test_an_exception_leaves_the_training_mode(small_spec: DatasetSpec, model: SegFormer) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    model.train()
    with pytest.raises(KeyboardInterrupt):
        evaluate(trained_network(model), Framing(), small_spec, "val", progress=stop)
    assert model.training


def test_loader_processes_give_the_same(small_spec: DatasetSpec, model: SegFormer) -> None:
    state = torch.get_rng_state()
    network = trained_network(model)
    assert evaluate(network, Framing(), small_spec, "val", workers=1) == evaluate(network, Framing(), small_spec, "val")
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "b"), "it has 2, .* has 4"),
        (("a", "c", "b", "never"), "class 1 is 'c' in the model and 'b'"),
    ],
)
def test_other_classes_are_refused(small_spec: DatasetSpec, names: tuple[str, ...], message: str) -> None:
    model = SegFormer("b0", len(names))
    model.metadata = ModelMetadata(names=names, image_size=(32, 32))
    with pytest.raises(ModelError, match=message) as caught:
        evaluate(trained_network(model, source="some/model"), Framing(), small_spec, "val")
    assert "some/model" in str(caught.value)
    assert "blocks.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("names", [("LABEL_0", "LABEL_1"), ("traffic-light", "Road")])
def test_spelling_does_not_matter(small_spec: DatasetSpec, names: tuple[str, ...]) -> None:
    model = SegFormer("b0", 2)
    model.metadata = ModelMetadata(names=names)
    spec = replace(small_spec, names=("Traffic Light", "road"))
    check_classes(model, spec)
    with pytest.raises(UsageError, match="--image_size"):
        evaluate(trained_network(model), Framing(), spec, "val")


def test_a_missing_split_names_the_file(small_spec: DatasetSpec, model: SegFormer) -> None:
    with pytest.raises(DataError, match=r"blocks\.yaml"):
        evaluate(trained_network(model), Framing(), small_spec, "test")


WORKER = """
import json, sys, torch
import torch.distributed as dist
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.evaluation.evaluator import evaluate
from effiseg.inference.framing import Framing
from effiseg.inference.network import trained_network
from effiseg.models.metadata import ModelMetadata
from effiseg.models.segformer import SegFormer

rank, size, data, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
torch.set_num_threads(1)
if size > 1:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size)
torch.manual_seed(0)
model, spec = SegFormer("b0", 4), load_dataset_spec(data)
torch.nn.init.normal_(model.decode_head.classifier.weight)
model.metadata = ModelMetadata(names=spec.names, image_size=(40, 56))
result = evaluate(trained_network(model), Framing(batch_size=1), spec, "val", across_processes=True)
with open(f"{folder}/{rank}_of_{size}.json", "w") as file:
    json.dump(result.to_dict(), file)
if size > 1:
    dist.destroy_process_group()
"""


def test_two_processes_are_one(small_spec: DatasetSpec, tmp_path: Path) -> None:
    words = [sys.executable, "-c", WORKER]
    ranks = [(0, 1), (0, 2), (1, 2)]
    running = [
        subprocess.Popen([*words, str(rank), str(size), str(small_spec.source), str(tmp_path)]) for rank, size in ranks
    ]
    assert [process.wait(timeout=120) for process in running] == [0, 0, 0]
    one, first, second = ((tmp_path / f"{rank}_of_{size}.json").read_text(encoding="utf-8") for rank, size in ranks)
    assert one == first == second


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is a POSIX thing")
def test_a_killed_loader_worker_is_one_line(colour_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(EvaluationDataset, "__getitem__", die)
    network = trained_network(SegFormer("b0", 3), "cpu")
    with pytest.raises(ResourceError, match=r"a loader worker was killed, .* take fewer --workers \(now 1;"):
        evaluate(network, Framing(image_size=(32, 64)), load_dataset_spec(colour_data), "val", workers=1)
