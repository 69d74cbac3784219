"""Identities of the rivals' and ancestors' terms, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor

from effiseg.config.loss import DistillationConfig, TermName
from effiseg.distillation import Distiller, SegFormerTeacher, WeightedTeacher, kl_distillation_loss
from effiseg.distillation.cwd import channel_distillation_loss
from effiseg.distillation.dist import correlation_loss, pearson
from effiseg.distillation.feature_mse import standardized_feature_loss
from effiseg.distillation.fusion import fused_context_loss, hierarchical_context_loss
from effiseg.distillation.jaccard import soft_jaccard_loss
from effiseg.distillation.pairwise import pairwise_similarity_loss
from effiseg.distillation.patch_embedding import patch_embedding_loss
from effiseg.distillation.term import Outputs, Widths
from effiseg.distillation.transkd import TransKdTerm, channel_selection
from effiseg.errors import UsageError
from effiseg.models.segformer import SegFormer
from effiseg.training.distillation_task import distillation_terms

Loss = Callable[[Tensor, Tensor], Tensor]
LOSSES: dict[str, Loss] = {
    "kl": lambda s, t: kl_distillation_loss(s, t, 2.0),
    "cwd": lambda s, t: channel_distillation_loss(s, t, 4.0),
    "dist": correlation_loss,
    "jaccard": soft_jaccard_loss,
    "feature_mse": standardized_feature_loss,
    "pairwise": lambda s, t: pairwise_similarity_loss(s, t, nodes=6),
    "review": hierarchical_context_loss,
}
every_loss = pytest.mark.parametrize("name", LOSSES)
F64 = torch.float64


def pair(seed: int = 0, size: tuple[int, int] = (3, 5)) -> tuple[Tensor, Tensor]:
    student, teacher = torch.randn(2, 2, 4, *size, generator=torch.Generator().manual_seed(seed), dtype=F64).unbind()
    return student.clone().requires_grad_(), teacher.clone()


def standardized(teacher: Tensor) -> Tensor:
    centered = teacher - teacher.mean((0, 2, 3), keepdim=True)
    return centered / centered.square().mean((0, 2, 3), keepdim=True).sqrt()


@every_loss
def test_equal_inputs_give_0_without_gradient(name: str) -> None:
    _, teacher = pair()
    same = (standardized(teacher) if name == "feature_mse" else teacher).clone().requires_grad_()
    loss = LOSSES[name](same, teacher)
    loss.backward()
    assert 0 <= loss.abs() < 1e-14
    assert same.grad is not None
    # |p − q| has a kink there: any gradient up to its slope is one.
    assert same.grad.abs().max() < (1.0 if name == "jaccard" else 1e-14)


@every_loss
def test_the_gradient_is_the_derivative_and_reaches_the_student_alone(name: str) -> None:
    student, teacher = pair()
    teacher.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: LOSSES[name](s, teacher.detach()), (student,), rtol=1e-4, atol=1e-8)
    loss = LOSSES[name](student, teacher)
    loss.backward()
    assert loss > 1e-3
    assert teacher.grad is None


@every_loss
def test_half_precision_is_computed_in_float32(name: str) -> None:
    student, teacher = (values.detach().bfloat16() for values in pair())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = LOSSES[name](student, teacher)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, LOSSES[name](student.float(), teacher.float()), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", sorted({*LOSSES} - {"pairwise"}))
def test_other_shapes_are_refused_in_one_line(name: str) -> None:
    student, teacher = pair()
    with pytest.raises(UsageError) as caught:
        LOSSES[name](student, teacher[:, :3])
    assert "\n" not in str(caught.value)


def invariant(loss: Loss, change: Callable[[Tensor], Tensor], of_teacher: Callable[[Tensor], Tensor]) -> None:
    student, teacher = pair()
    found = loss(change(student), of_teacher(teacher))
    torch.testing.assert_close(found, loss(student, teacher), rtol=1e-10, atol=0)


def test_invariances() -> None:
    noise = torch.randn(2, 4, 3, 5, dtype=F64)
    of_channels, of_places = noise[..., :1, :1], noise[:, :1]
    order = torch.randperm(15)

    def keep(x: Tensor) -> Tensor:
        return x

    def shuffled(x: Tensor) -> Tensor:
        return x.flatten(2)[..., order].view_as(x)

    # A softmax over places does not see a constant of the channel, one over classes none of the place.
    invariant(LOSSES["cwd"], lambda x: x + of_channels, lambda x: x - of_channels)
    for name in ("kl", "dist", "jaccard"):
        invariant(LOSSES[name], lambda x: x + of_places, lambda x: x - of_places)
    for name in ("kl", "cwd", "dist", "jaccard", "feature_mse"):
        invariant(LOSSES[name], shuffled, shuffled)
    invariant(LOSSES["feature_mse"], keep, lambda x: 3 * x + of_channels[:1])
    # Cosines see no length, and no rotation of the channels.
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=F64)).Q
    whole: Loss = lambda s, t: pairwise_similarity_loss(s, t)  # noqa: E731
    invariant(whole, lambda x: x * of_places.exp(), lambda x: torch.einsum("ij,bjhw->bihw", rotation, x))
    invariant(LOSSES["review"], lambda x: x + noise, lambda x: x + noise)


def test_values_by_hand() -> None:
    first = torch.tensor([[[[0.0, 4 * math.log(3)]]]], dtype=F64)  # over two places ¼ and ¾ at T = 4
    expected = 16 * (0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75))
    assert channel_distillation_loss(first, torch.zeros_like(first), 4.0).item() == pytest.approx(expected, rel=1e-13)

    p = torch.tensor([[0.5, 0.2], [0.5, 0.8]], dtype=F64).view(1, 2, 1, 2)
    q = torch.tensor([[0.75, 0.4], [0.25, 0.6]], dtype=F64).view(1, 2, 1, 2)
    # |p + q| = 1.85 and 2.15, |p − q| = 0.45 for both; each class is the best somewhere.
    expected = (2 * 0.45 / (1.85 + 0.45) + 2 * 0.45 / (2.15 + 0.45)) / 2
    assert soft_jaccard_loss(p.log(), q.log()).item() == pytest.approx(expected, rel=1e-13)
    # Per pixel: constant against falling 0, rising against rising 1. Per class: falling against falling, rising against
    # rising, 1.
    assert correlation_loss(p.log(), q.log()).item() == pytest.approx(((1 - 0) + (1 - 1)) / 2 + 0, abs=1e-13)

    ours = torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=F64).view(1, 2, 1, 2)  # directions (1, 0), (1, 1)
    theirs = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=F64).view(1, 2, 1, 2)  # at right angles
    assert pairwise_similarity_loss(ours, theirs).item() == pytest.approx(2 * 0.5 / 4, rel=1e-13)

    difference = torch.tensor([[1.0, 2.0], [3.0, 6.0]], dtype=F64).view(1, 1, 2, 2)
    expected = (50 / 4 + 0.5 * 9) / 1.5  # the map, and its mean on one cell
    zero = torch.zeros_like(difference)
    assert hierarchical_context_loss(difference, zero).item() == pytest.approx(expected, rel=1e-13)


def test_an_absent_class_is_left_out() -> None:
    student, teacher = pair()
    lifted = teacher.clone()
    lifted[:, 3] = -30.0  # never the teacher's best
    far = student.detach().clone()
    expected = soft_jaccard_loss(far[:, :3], lifted[:, :3])
    far[:, 3] = -30.0
    torch.testing.assert_close(soft_jaccard_loss(far, lifted), expected, rtol=1e-9, atol=0)


def test_correlations_of_constants() -> None:
    constant, rising = torch.full((3,), 0.3, dtype=F64), torch.tensor([1.0, 2.0, 4.0], dtype=F64)
    assert pearson(constant, 2 * constant, 0) == 1
    assert pearson(constant, rising, 0) == pearson(rising, constant, 0) == 0
    torch.testing.assert_close(pearson(rising, 5 - 2 * rising, 0), torch.tensor(-1.0, dtype=F64))
    vectors = torch.stack((constant, rising)).requires_grad_()
    pearson(vectors, vectors.detach(), 1).sum().backward()
    assert vectors.grad is not None
    assert torch.all(vectors.grad.isfinite())


def test_a_dead_teacher_channel_counts_as_0() -> None:
    student, teacher = pair()
    teacher[:, 1] = 7.0
    expected = torch.cat([standardized(teacher[:, [0, 2, 3]]), torch.zeros(2, 1, 3, 5, dtype=F64)], 1)
    found = standardized_feature_loss(student, teacher)
    torch.testing.assert_close(found, (student[:, [0, 2, 3, 1]] - expected).square().mean(), rtol=1e-12, atol=0)


def test_selected_channels_are_between_the_two_maps() -> None:
    own, above = pair()
    scores = torch.zeros(2, 2, 4, dtype=F64)
    torch.testing.assert_close(channel_selection(own, above, scores), (own + above) / 2)
    scores[:, 0] = 100.0
    torch.testing.assert_close(channel_selection(own, above, scores), own)


def test_every_term_of_the_settings_teaches_the_student_and_its_own_projections() -> None:
    torch.manual_seed(0)
    student, teacher = SegFormer("b0", 4, drop_path_rate=0.0), SegFormer("b1", 4)
    config = DistillationConfig(**{f"{name}_weight": 1.0 for name in get_args(TermName)})
    distiller = Distiller(student, [WeightedTeacher(1.0, SegFormerTeacher(teacher))], distillation_terms(config))
    images = torch.randn(2, 3, 64, 64)
    features = student.forward_features(images)
    terms = distiller(images, features, student.decode(features.feature_maps))
    assert tuple(terms) == get_args(TermName)
    for name, term in terms.items():
        own = list(distiller.projections(name).parameters())
        found = torch.autograd.grad(
            term, [*own, student.encoder.stages[3].patch_embedding.proj.weight], retain_graph=True
        )
        assert term.isfinite(), name
        assert all(gradient.isfinite().all() and gradient.abs().max() > 0 for gradient in found), name
    trained = {name for name in terms if list(distiller.projections(name).parameters())}
    assert trained == {"feature", "patch_embedding", "feature_mse", "transkd", "review"}


def test_transkd_is_alignment_and_the_context_loss_of_fused_maps() -> None:
    torch.manual_seed(0)
    student, teacher = SegFormer("b0", 3, drop_path_rate=0.0), SegFormer("b1", 3)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        ours, theirs = student.forward_features(images), teacher.forward_features(images)
        term = TransKdTerm()
        projections = term.projections(Widths(tuple(student.embed_dims), tuple(teacher.embed_dims)))
        found = term.distance(Outputs(ours, None), Outputs(theirs, None), projections)
        expected = fused_context_loss(projections["fusion"](ours.feature_maps), theirs.feature_maps)
        for stage, weight in enumerate((0.1, 0.1, 0.5, 1.0)):
            aligned = projections["alignment"][str(stage)](ours.patch_embeddings[stage])
            expected += weight * patch_embedding_loss(aligned, theirs.patch_embeddings[stage])
    torch.testing.assert_close(found, expected)
    assert expected > 0
