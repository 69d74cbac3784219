"""Unlabeled pictures in training: the teacher alone speaks of them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from effiseg.comparison.plan import planned_runs
from effiseg.config.comparison import AblationConfig
from effiseg.config.loss import DistillationConfig
from effiseg.config.training import TrainConfig
from effiseg.data.unlabeled import UnlabeledImages
from effiseg.distillation import SegFormerTeacher
from effiseg.distillation.logits import kl_distillation_loss
from effiseg.errors import RunError, UsageError
from effiseg.files import read_json, read_yaml, write_yaml
from effiseg.models.segformer import SegFormer
from effiseg.training.distillation_task import DistillationTask
from effiseg.training.trainer import resume, train

Config = Callable[..., TrainConfig]
K = 4
DISTILLING = DistillationConfig(kl_weight=0.5, feature_weight=1.0, patch_embedding_weight=1.0)


@pytest.fixture
def task() -> DistillationTask:
    """A student in training mode with class weights, and a teacher."""
    torch.manual_seed(0)
    student = SegFormer("b0", K, drop_path_rate=0.0, classifier_dropout=0.0)
    teachers = [SegFormerTeacher(SegFormer("b0", K))]
    made = DistillationTask(student, teachers, TrainConfig(distillation=DISTILLING), torch.tensor([1.0, 3.0, 0.5, 2.0]))
    return made.train()


def pictures(count: int, seed: int) -> Tensor:
    return torch.randint(0, 256, (count, 3, 32, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def labels(seed: int) -> Tensor:
    found = torch.randint(0, K, (2, 32, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    found[:, :5] = 255
    return found


def gradients(task: DistillationTask, of: Tensor) -> list[Tensor]:
    parameters = list(task.student.parameters())
    found = torch.autograd.grad(of, parameters, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]


def assert_equal(ones: list[Tensor], others: list[Tensor]) -> None:
    size = max(float(tensor.abs().max()) for tensor in others)
    assert size > 0
    for one, other in zip(ones, others, strict=True):
        assert float((one - other).abs().max()) <= 1e-5 * size


def test_an_unlabeled_picture_is_one_whose_every_pixel_is_ignored(task: DistillationTask) -> None:
    images, extra = pictures(2, 1), pictures(3, 2)
    ignored = torch.full((3, 32, 64), 255, dtype=torch.uint8)
    ours = task.loss_terms(images, labels(3), UnlabeledImages(extra, extra))
    theirs = task.loss_terms(torch.cat([images, extra]), torch.cat([labels(3), ignored]))
    assert ours.keys() == theirs.keys() == {"loss", "supervised", "kl", "feature", "patch_embedding"}
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], msg=name)
    assert_equal(gradients(task, ours["loss"]), gradients(task, theirs["loss"]))


def test_labels_move_the_supervised_loss_alone(task: DistillationTask) -> None:
    images, unlabeled = pictures(2, 1), UnlabeledImages(pictures(2, 2), pictures(2, 2))
    one, other = (task.loss_terms(images, labels(seed), unlabeled) for seed in (3, 4))
    assert not torch.equal(one["supervised"], other["supervised"])
    for name in ("kl", "feature", "patch_embedding"):
        assert torch.equal(one[name], other[name])
    assert_equal(gradients(task, one["loss"] - one["supervised"]), gradients(task, other["loss"] - other["supervised"]))


def test_the_supervised_loss_is_that_of_the_labelled_images(task: DistillationTask) -> None:
    """Where the head's normalization is a constant, it does not notice the others, and nor does its gradient."""
    task.eval()
    images = pictures(2, 1)
    alone = task.loss_terms(images, labels(3))["supervised"]
    beside = task.loss_terms(images, labels(3), UnlabeledImages(pictures(3, 2), pictures(3, 2)))["supervised"]
    torch.testing.assert_close(alone, beside)
    assert_equal(gradients(task, beside), gradients(task, alone))


def test_the_heads_normalization_sees_all_pictures_as_one_batch(task: DistillationTask) -> None:
    norm = task.student.decode_head.batch_norm
    seen = []
    norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[0]))
    task.loss_terms(pictures(2, 1), labels(3), UnlabeledImages(pictures(3, 2), pictures(3, 2)))
    assert seen == [5]
    assert int(norm.num_batches_tracked) == 1


def test_each_network_sees_its_own_view(task: DistillationTask) -> None:
    images, unlabeled = pictures(2, 1), UnlabeledImages(student=pictures(3, 2), teacher=pictures(3, 5))
    found = task.loss_terms(images, labels(3), unlabeled)["kl"]
    normalize = task.student.metadata.normalize
    with torch.no_grad():
        student = task.student(normalize(torch.cat([images, unlabeled.student])))
        (teaching,) = task.distiller.teachers
        assert isinstance(teaching, SegFormerTeacher)
        teacher = teaching.model(normalize(torch.cat([images, unlabeled.teacher])))
    torch.testing.assert_close(found.detach(), kl_distillation_loss(student, teacher))


@pytest.fixture
def unlabeled(small_config: Config, colour_data: Path, teacher_run: Path) -> TrainConfig:
    """A run with the pictures of test beside its own."""
    return small_config(
        "run", teacher=str(teacher_run), distillation=DISTILLING, unlabeled_ratio=0.5,
        unlabeled=[str(colour_data.parent / "images" / "test")],
    )  # fmt: skip


def test_pictures_are_counted_and_epochs_are_of_labelled_ones(unlabeled: TrainConfig) -> None:
    run = train(unlabeled)
    rows = list(csv.DictReader(run.metrics.open(newline="")))
    assert [row["step"] for row in rows] == ["3", "6"]
    assert [row["unlabeled_images"] for row in rows] == ["6", "6"]
    assert read_json(run.results)["unlabeled_images"] == 12
    assert "12 unlabeled pictures" in (run.model / "README.md").read_text()


def test_resume_refuses_other_pictures(unlabeled: TrainConfig, colour_data: Path) -> None:
    run = train(unlabeled)
    run.results.unlink()
    write_yaml(run.config, read_yaml(run.config) | {"unlabeled": [str(colour_data.parent / "images" / "train")]})
    with pytest.raises(RunError, match=r"training samples of .* have changed"):
        resume(run.path)


def test_without_a_teacher_they_are_refused(unlabeled: TrainConfig) -> None:
    for settings in ({"teacher": None, "distillation": DistillationConfig()}, {"distillation": DistillationConfig()}):
        with pytest.raises(UsageError, match="--teacher") as caught:
            train(replace(unlabeled, **settings))
        assert "\n" not in str(caught.value)
        assert not Path(unlabeled.out).exists()
    with pytest.raises(
        UsageError, match="--unlabeled pictures are learnt from a teacher, and recipe baseline has none"
    ):
        train(replace(unlabeled, teacher=None, distillation=DistillationConfig()))


def test_in_a_comparison_they_are_for_rows_with_a_teacher(colour_data: Path, tmp_path: Path) -> None:
    shared = {"data": str(colour_data), "unlabeled": ["extra"]}
    config = AblationConfig(data=str(colour_data), out=str(tmp_path), recipes=["baseline", "kd"], unlabeled=["extra"])
    plan = {planned.row: planned.config.unlabeled for planned in planned_runs(config, shared)}
    assert plan == {"teacher": [], "baseline": [], "kd": [str(Path("extra").resolve())]}
