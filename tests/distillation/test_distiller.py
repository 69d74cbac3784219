import copy
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from effiseg.config.loss import DistillationConfig, TermName
from effiseg.config.model import Variant
from effiseg.distillation import (
    Distiller,
    SegFormerTeacher,
    WeightedTeacher,
    WeightedTerm,
    cosine_feature_loss,
    kl_distillation_loss,
    patch_embedding_loss,
)
from effiseg.distillation.term import Outputs
from effiseg.errors import UsageError
from effiseg.models.segformer import SegFormer
from effiseg.training.distillation_task import distillation_terms

ALL_TERMS = {"kl_weight": 0.5, "feature_weight": 2.0, "patch_embedding_weight": 3.0}
PAPER = {"feature_weight": 1.0, "patch_embedding_weight": 1.0}


def make_distiller(student: SegFormer, teacher: SegFormer, **settings: Any) -> Distiller:
    """The distiller of a run with these settings."""
    return Distiller(student, [WeightedTeacher(1.0, SegFormerTeacher(teacher))], terms_of(**settings))


def terms_of(**settings: Any) -> tuple[WeightedTerm, ...]:
    """The terms of a run with these settings."""
    return distillation_terms(DistillationConfig(**settings))


def model_of(distiller: Distiller, index: int = 0) -> SegFormer:
    """The network of a teacher."""
    teacher = distiller.teachers[index]
    assert isinstance(teacher, SegFormerTeacher)
    return teacher.model


def make_models(num_classes: int = 5) -> tuple[SegFormer, SegFormer]:
    """A B0 student and a B1 teacher; the teacher's BatchNorm and maps are not those of a fresh model."""
    torch.manual_seed(0)
    student = SegFormer("b0", num_classes, drop_path_rate=0.0, classifier_dropout=0.0)
    teacher = SegFormer("b1", num_classes)
    with torch.no_grad():
        for parameter in (*student.parameters(), *teacher.parameters()):
            parameter.add_(0.05 * torch.randn_like(parameter))
    return student, teacher


def make_images(height: int = 32, width: int = 64) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def run(distiller: Distiller, student: SegFormer, images: Tensor) -> dict[str, Tensor]:
    features = student.forward_features(images)
    terms: dict[str, Tensor] = distiller(images, features, student.decode(features.feature_maps))
    return terms


def gradients(distiller: Distiller, student: SegFormer, images: Tensor) -> list[Tensor]:
    total = distiller.weighted_total(run(distiller, student, images))
    found = torch.autograd.grad(total, list(student.parameters()), allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, student.parameters(), strict=True)]


@pytest.mark.parametrize(("student_size", "teacher_size"), [("n", "b1"), ("b0", "n"), ("n", "s")])
def test_unlike_depths_widths_and_strides(student_size: Variant, teacher_size: Variant) -> None:
    torch.manual_seed(0)
    student, teacher = SegFormer(student_size, 5), SegFormer(teacher_size, 5)
    distiller = make_distiller(student, teacher, **{f"{name}_weight": 1.0 for name in get_args(TermName)})
    images = make_images(64, 96)
    features = student.forward_features(images)
    logits = student.decode(features.feature_maps)
    terms = distiller(images, features, logits)
    assert set(terms) == set(get_args(TermName))
    distiller.weighted_total(terms).backward()
    assert all(value.isfinite() and value > 0 for value in terms.values())
    assert all(parameter.grad is not None for parameter in distiller.parameters())
    with torch.no_grad():
        both = logits, teacher(images)
        finer = max(answer.shape[2:] for answer in both)
        ours, theirs = (F.interpolate(z, finer, mode="bilinear", align_corners=False) for z in both)
        assert terms["kl"].item() == pytest.approx(kl_distillation_loss(ours, theirs).item(), rel=1e-5)


def test_one_step_changes_every_projection_and_nothing_of_the_teacher() -> None:
    student, teacher = make_models()
    distiller = make_distiller(student, teacher, **ALL_TERMS)
    before = {name: value.clone() for name, value in distiller.state_dict().items()}
    teacher_before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student_before = [parameter.clone() for parameter in student.parameters()]
    parameters = [*student.parameters(), *distiller.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0)
    student.train()
    distiller.train()
    distiller.weighted_total(run(distiller, student, make_images())).backward()
    optimizer.step()
    assert len(before) == 16  # weight and bias of a projection for each of four stages and two terms
    for name, value in distiller.state_dict().items():
        assert not torch.any(value == before[name]), name
    changed = [not torch.equal(p, old) for p, old in zip(student.parameters(), student_before, strict=True)]
    assert sum(changed) > 0.9 * len(changed)
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, teacher_before[name]), name
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_teacher_is_frozen_and_in_no_checkpoint() -> None:
    student, teacher = make_models()
    teacher.train()
    distiller = make_distiller(student, teacher, **ALL_TERMS)
    distiller.train()
    assert model_of(distiller) is teacher
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    teacher_ids = {id(tensor) for tensor in (*teacher.parameters(), *teacher.buffers())}
    held = (*distiller.parameters(), *distiller.buffers(), *distiller.state_dict(keep_vars=True).values())
    assert not teacher_ids & {id(tensor) for tensor in held}
    assert teacher not in list(distiller.modules())
    widths = sum(s * t + t for s, t in zip(student.embed_dims, teacher.embed_dims, strict=True))
    assert sum(parameter.numel() for parameter in distiller.parameters()) == 2 * widths


def test_the_teacher_moves_with_the_distiller() -> None:
    student, teacher = make_models()
    parent = torch.nn.ModuleDict({"student": student, "distiller": make_distiller(student, teacher, **ALL_TERMS)})
    parent.double()
    assert all(parameter.dtype == torch.float64 for parameter in teacher.parameters())
    terms = run(parent["distiller"], student, make_images().double())
    assert all(term.dtype == torch.float64 for term in terms.values())


def test_a_copy_has_its_own_teacher() -> None:
    student, teacher = make_models()
    twin = copy.deepcopy(make_distiller(student, teacher, **ALL_TERMS))
    assert model_of(twin) is not teacher
    torch.testing.assert_close(model_of(twin).state_dict(), teacher.state_dict())


def test_terms_are_those_of_the_functions() -> None:
    student, teacher = make_models()
    alphas, betas = [1.0, 0.5, 0.0, 2.0], [0.1, 0.0, 0.5, 1.0]
    distiller = make_distiller(
        student,
        teacher,
        **ALL_TERMS,
        temperature=2.0,
        mse_weight=0.7,
        cosine_weight=0.2,
        detach_guidance=False,
        feature_stage_weights=alphas,
        patch_embedding_stage_weights=betas,
    )
    images = make_images(33, 47)
    student.eval()
    terms = run(distiller, student, images)
    with torch.no_grad():
        ours, theirs = student.forward_features(images), teacher.forward_features(images)
        kl = kl_distillation_loss(student(images), teacher(images), 2.0)
        feature = torch.zeros(())
        patch_embedding = torch.zeros(())
        for stage in range(4):
            if alphas[stage]:
                linear = distiller.projections("feature")[str(stage)]
                projected = torch.nn.functional.conv2d(
                    ours.feature_maps[stage], linear.weight[:, :, None, None], linear.bias
                )
                feature += alphas[stage] * cosine_feature_loss(
                    projected, theirs.feature_maps[stage], 0.7, 0.2, detach_guidance=False
                )
            if betas[stage]:
                linear = distiller.projections("patch_embedding")[str(stage)]
                patch_embedding += betas[stage] * patch_embedding_loss(
                    linear(ours.patch_embeddings[stage]), theirs.patch_embeddings[stage]
                )
    torch.testing.assert_close(terms["kl"], kl, rtol=1e-5, atol=0)
    torch.testing.assert_close(terms["feature"], feature, rtol=1e-5, atol=0)
    torch.testing.assert_close(terms["patch_embedding"], patch_embedding, rtol=1e-5, atol=0)
    expected_total = 0.5 * kl + 2.0 * feature + 3.0 * patch_embedding
    torch.testing.assert_close(distiller.weighted_total(terms), expected_total, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["kl", "feature", "patch_embedding"])
def test_a_weight_of_0_removes_the_term_and_changes_the_gradients(name: str) -> None:
    student, teacher = make_models()
    images = make_images()
    student.eval()
    torch.manual_seed(2)
    whole = make_distiller(student, teacher, **ALL_TERMS)
    without = make_distiller(student, teacher, **{**ALL_TERMS, f"{name}_weight": 0.0})
    without.load_state_dict({key: value for key, value in whole.state_dict().items() if key in without.state_dict()})
    assert set(run(without, student, images)) == {"kl", "feature", "patch_embedding"} - {name}
    only = make_distiller(student, teacher, **{**dict.fromkeys(ALL_TERMS, 0.0), f"{name}_weight": 1.0})
    only.load_state_dict({key: value for key, value in whole.state_dict().items() if key in only.state_dict()})
    assert set(run(only, student, images)) == {name}
    weight = ALL_TERMS[f"{name}_weight"]
    for all_of_it, rest, part in zip(
        gradients(whole, student, images),
        gradients(without, student, images),
        gradients(only, student, images),
        strict=True,
    ):
        torch.testing.assert_close(all_of_it, rest + weight * part, rtol=1e-3, atol=1e-5)
    differences = [
        (a - b).abs().max()
        for a, b in zip(gradients(whole, student, images), gradients(without, student, images), strict=True)
    ]
    assert max(differences) > 1e-3


class Counted:
    """Counts the teacher's calls."""

    def __init__(self, teacher: SegFormer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        for name in ("forward_features", "decode"):
            monkeypatch.setattr(teacher, name, self._counted(name, getattr(teacher, name)))

    def _counted(self, name: str, function: Any) -> Any:
        def call(*args: Any) -> Any:
            self.calls.append(name)
            return function(*args)

        return call


@pytest.mark.parametrize(
    ("weights", "calls"),
    [
        ({"kl_weight": 0.0, "feature_weight": 0.0, "patch_embedding_weight": 0.0}, []),
        ({"feature_weight": 1.0, "patch_embedding_weight": 0.0, "feature_stage_weights": [0, 0, 0, 0]}, []),
        ({"kl_weight": 0.0, "feature_weight": 1.0, "patch_embedding_weight": 1.0}, ["forward_features"]),
        ({"kl_weight": 1.0, "feature_weight": 0.0}, ["forward_features", "decode"]),
    ],
)
def test_a_term_of_weight_0_costs_nothing(
    weights: dict[str, Any], calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    student, teacher = make_models()
    counted = Counted(teacher, monkeypatch)
    distiller = make_distiller(student, teacher, **weights)
    terms = run(distiller, student, make_images())
    assert counted.calls == calls
    if not calls:
        assert terms == {}
        assert distiller.weighted_total(terms) == 0
        assert list(distiller.parameters()) == []


@pytest.mark.parametrize(
    ("settings", "ran"),
    [
        ({"feature_weight": 1.0, "feature_stage_weights": [1, 1, 0, 0]}, [0, 1]),
        ({"patch_embedding_weight": 1.0}, [0, 1, 2]),  # of the last stage the embedding alone
        ({**PAPER, "feature_stage_weights": [0, 0, 1, 0], "patch_embedding_stage_weights": [1, 1, 0, 0]}, [0, 1, 2]),
        (PAPER, [0, 1, 2, 3]),
    ],
)
def test_the_teacher_runs_no_further_than_a_term_needs(settings: dict[str, Any], ran: list[int]) -> None:
    student, teacher = make_models()
    entered: list[int] = []
    for index, stage in enumerate(teacher.encoder.stages):
        stage.blocks[0].register_forward_pre_hook(lambda *_, index=index: entered.append(index))
    distiller = make_distiller(student, teacher, **settings)
    images = make_images()
    found = run(distiller, student, images)
    assert entered == ran
    features = student.forward_features(images), teacher.forward_features(images)
    for name, _, term in distiller.terms:
        outputs = [Outputs(of, None) for of in features]
        torch.testing.assert_close(found[name], term.distance(*outputs, distiller.projections(name)))


def test_a_stage_weight_of_0_has_no_projection() -> None:
    student, teacher = make_models()
    distiller = make_distiller(
        student,
        teacher,
        **PAPER,
        feature_stage_weights=[0, 1, 0, 1],
        patch_embedding_stage_weights=[0, 0, 0, 1],
    )
    assert list(distiller.projections("feature")) == ["1", "3"]
    assert list(distiller.projections("patch_embedding")) == ["3"]


def test_a_perfect_student_has_no_distance() -> None:
    _, teacher = make_models()
    student = copy.deepcopy(teacher).eval()
    distiller = make_distiller(student, teacher, **ALL_TERMS)
    with torch.no_grad():
        for projection in (
            *distiller.projections("feature").values(),
            *distiller.projections("patch_embedding").values(),
        ):
            projection.weight.copy_(torch.eye(len(projection.weight)))
            projection.bias.zero_()
        terms = run(distiller, student, make_images())
    assert all(term.abs() < 1e-5 for term in terms.values())


def test_another_normalization_of_the_teacher_is_met() -> None:
    student, teacher = make_models()
    student.metadata = replace(student.metadata, mean=(0.1, 0.2, 0.3), std=(0.5, 0.4, 0.6))
    pixels = torch.randint(0, 256, (2, 3, 32, 64), dtype=torch.uint8)
    seen: list[Tensor] = []
    teacher.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    distiller = make_distiller(student, teacher, **PAPER)
    run(distiller, student, student.metadata.normalize(pixels))
    torch.testing.assert_close(seen[0], teacher.metadata.normalize(pixels), rtol=1e-5, atol=1e-5)


def test_autocast_reaches_the_teacher_but_not_the_distances() -> None:
    student, teacher = make_models()
    distiller = make_distiller(student, teacher, **ALL_TERMS)
    student.eval()
    images = make_images()
    exact = run(distiller, student, images)
    dtypes: set[torch.dtype] = set()
    for module in teacher.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            module.register_forward_hook(lambda _, __, output: dtypes.add(output.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = run(distiller, student, images)
    assert dtypes == {torch.bfloat16}
    for name, term in terms.items():
        assert term.dtype == torch.float32
        torch.testing.assert_close(term, exact[name], rtol=0.05, atol=1e-3)
    distiller.weighted_total(terms).backward()


def test_mistakes_are_refused() -> None:
    student, teacher = make_models()
    with pytest.raises(UsageError, match="5 classes, found 7"):
        make_distiller(student, SegFormer("b1", 7), kl_weight=1.0)
    distiller = make_distiller(student, teacher, **PAPER)
    features = student.forward_features(make_images(64, 64))
    with pytest.raises(UsageError, match="of the same shape"):
        distiller(make_images(32, 64), features, student.decode(features.feature_maps))
