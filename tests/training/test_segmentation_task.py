"""What a step computes: the configured loss at the configured resolution, eq. 9, and the average of weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from effiseg import losses
from effiseg.config.loss import DistillationConfig, LossConfig, LossName
from effiseg.config.training import TrainConfig
from effiseg.distillation import SegFormerTeacher
from effiseg.files import read_json
from effiseg.models.segformer import SegFormer
from effiseg.training.distillation_task import DistillationTask
from effiseg.training.segmentation_task import SegmentationTask, ema_average, supervised_loss

K = 4
WEIGHTS = torch.tensor([1.0, 3.0, 0.5, 2.0])
OPTIONS = LossConfig(
    dice_weight=0.3, smooth=0.5, sums="image", classes="all", gamma=1.5, normalize_weights="mean",
    tversky_alpha=0.3, tversky_beta=0.7, focal_tversky_gamma=1.2, ohem_threshold=0.4,
)  # fmt: skip
OVERLAP: dict[str, Any] = {"smooth": 0.5, "averaging": losses.Averaging("image", "all")}
PIXELS = losses.PixelOptions(ignore_index=9)
INDEX: dict[str, Any] = {"alpha": 0.3, "beta": 0.7}
FOCAL: dict[str, Any] = {"gamma": 1.5, "normalize_weights": "mean"}
EXPECTED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": lambda x, y: losses.cross_entropy_loss(x, y, WEIGHTS, pixels=PIXELS),
    "dice": lambda x, y: losses.dice_loss(x, y, **OVERLAP, pixels=PIXELS),
    "focal": lambda x, y: losses.focal_loss(x, y, WEIGHTS, **FOCAL, pixels=PIXELS),
    "dice_focal": lambda x, y: losses.dice_focal_loss(
        x, y, WEIGHTS, dice_weight=0.3, **FOCAL, **OVERLAP, pixels=PIXELS
    ),
    "combo": lambda x, y: losses.combo_loss(x, y, WEIGHTS, dice_weight=0.3, **OVERLAP, pixels=PIXELS),
    "combo_jaccard": lambda x, y: losses.combo_loss(
        x, y, WEIGHTS, dice_weight=0.3, overlap_name="jaccard", **OVERLAP, pixels=PIXELS
    ),
    "ohem": lambda x, y: losses.ohem_loss(x, y, WEIGHTS, threshold=0.4, pixels=PIXELS),
    "tversky": lambda x, y: losses.tversky_loss(x, y, **INDEX, **OVERLAP, pixels=PIXELS),
    "focal_tversky": lambda x, y: losses.focal_tversky_loss(x, y, gamma=1.2, **INDEX, **OVERLAP, pixels=PIXELS),
}


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Quarter-size logits (2, K, 8, 12) and labels (2, 32, 48), some ignored (9)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, K, (2, 32, 48), generator=generator, dtype=torch.uint8)
    labels[0, :11] = 9
    return 2 * torch.randn(2, K, 8, 12, generator=generator), labels


def loss_of(logits: Tensor, labels: Tensor, config: LossConfig) -> Tensor:
    return supervised_loss(logits, labels, config, class_weights=WEIGHTS, ignore_index=9)["loss"]


def test_every_loss_is_listed() -> None:
    assert EXPECTED.keys() == set(get_args(LossName)) - {"custom"}


@pytest.mark.parametrize("name", EXPECTED)
def test_full_resolution_is_the_function_on_upsampled_logits(name: LossName) -> None:
    logits, labels = batch()
    upsampled = F.interpolate(logits, (32, 48), mode="bilinear", align_corners=False)
    loss = loss_of(logits, labels, replace(OPTIONS, name=name))
    torch.testing.assert_close(loss, EXPECTED[name](upsampled, labels), rtol=1e-6, atol=0)
    assert 0 < loss.item() < 20


@pytest.mark.parametrize("name", EXPECTED)
def test_quarter_resolution_is_the_function_on_reduced_labels(name: LossName) -> None:
    logits, labels = batch()
    quarter = loss_of(logits, labels, replace(OPTIONS, name=name, label_resolution="quarter"))
    assert torch.equal(quarter, EXPECTED[name](logits, labels[:, ::4, ::4]))
    assert not torch.isclose(quarter, loss_of(logits, labels, replace(OPTIONS, name=name)))


@pytest.mark.parametrize("name", EXPECTED)
def test_logits_at_an_eighth_meet_the_same_quarter_labels(name: LossName) -> None:
    logits, labels = batch()
    coarse = F.avg_pool2d(logits, 2)
    wide = F.interpolate(coarse, logits.shape[2:], mode="bilinear", align_corners=False)
    found, expected = (
        loss_of(z, labels, replace(OPTIONS, name=name, label_resolution="quarter")) for z in (coarse, wide)
    )
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def images_and_labels() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (2, 3, 32, 64), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, K, (2, 32, 64), generator=generator, dtype=torch.uint8)
    labels[:, 20:] = 255
    return images, labels


def distilling(kl: float = 0.7, feature: float = 0.4, patch: float = 0.2) -> DistillationTask:
    torch.manual_seed(0)
    config = TrainConfig(
        ema_decay=0.9,
        distillation=DistillationConfig(kl_weight=kl, feature_weight=feature, patch_embedding_weight=patch),
    )
    return DistillationTask(
        SegFormer("b0", K, drop_path_rate=0.0), [SegFormerTeacher(SegFormer("b1", K))], config, WEIGHTS
    )


def test_the_total_is_equation_9() -> None:
    task = distilling().eval()  # no dropout, so that the loss can be computed again
    images, labels = images_and_labels()
    with torch.no_grad():
        terms = task.loss_terms(images, labels)
        logits = task.student(task.student.metadata.normalize(images))
    assert terms.keys() == {"loss", "supervised", "kl", "feature", "patch_embedding"}
    torch.testing.assert_close(
        terms["loss"], terms["supervised"] + 0.7 * terms["kl"] + 0.4 * terms["feature"] + 0.2 * terms["patch_embedding"]
    )
    upsampled = F.interpolate(logits, (32, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(terms["supervised"], losses.cross_entropy_loss(upsampled, labels, WEIGHTS))
    assert min(value.item() for value in terms.values()) > 0


def test_a_step_minimizes_the_total_and_remembers_every_term() -> None:
    task = distilling()
    images, labels = images_and_labels()
    loss = task.training_step({"image": images, "label": labels, "id": ["a", "b"]}, 0)
    assert loss.requires_grad
    assert task.latest_terms["loss"] == loss
    assert not any(value.requires_grad for value in task.latest_terms.values())


def test_without_weights_of_distillation_the_terms_are_not_there() -> None:
    images, labels = images_and_labels()
    assert distilling(feature=0, patch=0).loss_terms(images, labels).keys() == {"loss", "supervised", "kl"}


def test_projections_have_the_places_that_checkpoints_of_0_1_have() -> None:
    old = read_json(Path(__file__).with_name("distiller_of_0_1.json"))
    settings = {"feature_weight": 1.0, "patch_embedding_weight": 1.0, "feature_stage_weights": [1, 0, 1, 1]}
    config = TrainConfig(distillation=DistillationConfig(kl_weight=0.5, **settings))
    task = DistillationTask(SegFormer("b0", 5), [SegFormerTeacher(SegFormer("b1", 5))], config, None)
    tensors = {name: list(tensor.shape) for name, tensor in task.state_dict().items() if "distiller." in name}
    assert list(tensors.items()) == list(old["tensors"].items())
    names = {id(parameter): name for name, parameter in task.named_parameters()}
    groups = [[names[id(p)] for p in group["params"]] for group in task.configure_optimizers().param_groups]
    assert [[name for name in group if "distiller." in name] for group in groups] == old["optimizer_groups"]


def test_the_teacher_is_in_no_state_and_never_trained() -> None:
    task = distilling()
    prefixes = {name.split(".")[0] for name in task.state_dict()}
    assert prefixes == {"student", "ema", "distiller"}
    (teacher,) = task.distiller.teachers
    assert isinstance(teacher, SegFormerTeacher)
    assert not {id(p) for p in teacher.model.parameters()} & {id(p) for p in task.parameters()}
    optimizer = task.configure_optimizers()
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for module in (task.student, task.distiller) for p in module.parameters()}
    task.train()
    assert not teacher.model.training
    assert not any("teacher" in name for name in task.state_dict())


def test_class_weights_move_with_the_task_and_stay_out_of_its_state() -> None:
    task = SegmentationTask(SegFormer("b0", K), TrainConfig(), WEIGHTS)
    assert task.double().class_weights.dtype == torch.float64  # type: ignore[union-attr]
    assert "class_weights" not in task.state_dict()


@pytest.mark.parametrize(
    ("updates", "decay"), [(0, 0.1), (1, 2 / 11), (9, 10 / 19), (80, 0.9), (81, 0.9), (10**6, 0.9)]
)
def test_the_average_decays_slowly_only_after_a_ramp(updates: int, decay: float) -> None:
    averages = [torch.tensor([1.0, -2.0], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)]
    current = [torch.tensor([3.0, 4.0], dtype=torch.float64), torch.ones(1, dtype=torch.float64)]
    expected = [decay * a + (1 - decay) * c for a, c in zip(averages, current, strict=True)]
    ema_average(averages, current, torch.tensor(updates), decay=0.9)
    torch.testing.assert_close(averages, expected, rtol=1e-15, atol=1e-15)


def test_counters_are_copied_into_the_average() -> None:
    averages = [torch.tensor(3)]
    ema_average(averages, [torch.tensor(8)], 5, decay=0.9)
    assert averages[0] == 8


def test_the_average_follows_the_student_and_is_what_gets_evaluated() -> None:
    torch.manual_seed(0)
    task = SegmentationTask(SegFormer("b0", K), TrainConfig(ema_decay=0.5), None)
    assert task.evaluated_model is not task.student
    weight, average = task.student.decode_head.classifier.weight, task.evaluated_model.decode_head.classifier.weight
    expected = None
    for update in range(3):
        with torch.no_grad():
            weight.normal_()
            task.student.decode_head.batch_norm.num_batches_tracked += 2
        task.after_optimizer_step()
        decay = min(0.5, (1 + update) / (10 + update))
        expected = weight.clone() if expected is None else decay * expected + (1 - decay) * weight
    assert expected is not None
    torch.testing.assert_close(average, expected.detach())
    assert not torch.allclose(average, weight)
    assert not average.requires_grad
    assert task.evaluated_model.decode_head.batch_norm.num_batches_tracked == 6


def test_without_an_average_the_student_is_evaluated() -> None:
    task = SegmentationTask(SegFormer("b0", K), TrainConfig(), None)
    assert task.evaluated_model is task.student
    task.after_optimizer_step()


@pytest.mark.parametrize(("name", "parts"), [("dice_focal", ("dice", "focal")), ("combo", ("dice", "cross_entropy"))])
def test_a_loss_of_two_parts_names_them(name: str, parts: tuple[str, str]) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, generator=generator)
    labels = torch.randint(0, 3, (2, 16, 16), generator=generator, dtype=torch.uint8)
    config = LossConfig(name=name, dice_weight=0.3)  # type: ignore[arg-type]
    terms = supervised_loss(logits, labels, config, class_weights=None, ignore_index=255)
    assert list(terms) == ["loss", *parts]
    torch.testing.assert_close(terms["loss"], 0.3 * terms[parts[0]] + 0.7 * terms[parts[1]])
