"""Several teachers, and teachers that answer with logits alone."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from effiseg.config.loss import DistillationConfig
from effiseg.distillation import Distiller, ExportedTeacher, SegFormerTeacher, Teacher, WeightedTeacher
from effiseg.distillation import teacher as teachers
from effiseg.engines.engine import Answer, LoadedModel, Pixels
from effiseg.engines.record import ExportRecord
from effiseg.errors import UsageError
from effiseg.models.metadata import ModelMetadata
from effiseg.models.segformer import SegFormer
from effiseg.training.distillation_task import distillation_terms

PAPER = {"feature_weight": 1.0, "patch_embedding_weight": 0.5}
LOGITS = {"kl_weight": 0.7, "cwd_weight": 0.1, "dist_weight": 0.3, "jaccard_weight": 0.2}


def network(variant: str = "b0", classes: int = 4, seed: int = 0) -> SegFormer:
    torch.manual_seed(seed)
    model = SegFormer(variant, classes, drop_path_rate=0.0, classifier_dropout=0.0)  # type: ignore[arg-type]
    torch.nn.init.normal_(model.decode_head.classifier.weight)
    return model


def distil(student: SegFormer, *weighted: tuple[float, Teacher], **weights: float) -> Distiller:
    torch.manual_seed(1)
    terms = distillation_terms(DistillationConfig(**weights))  # type: ignore[arg-type]
    return Distiller(student, [WeightedTeacher(*pair) for pair in weighted], terms)


def pixels() -> Tensor:
    return torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def terms_of(distiller: Distiller, student: SegFormer) -> dict[str, Tensor]:
    images = student.metadata.normalize(pixels())
    features = student.forward_features(images)
    found: dict[str, Tensor] = distiller(images, features, student.decode(features.feature_maps))
    return found


def exported(model: SegFormer, path: Path = Path("b0.onnx")) -> ExportedTeacher:
    """A file of the model as an engine would run it."""

    def run(images: Pixels) -> Answer:
        with torch.no_grad():
            found: Answer = model(model.metadata.normalize(torch.from_numpy(images).permute(0, 3, 1, 2))).numpy()
            return np.ascontiguousarray(found)

    record = ExportRecord(model.metadata, "logits", "float32", None)
    return ExportedTeacher(LoadedModel(path, record, "float32", "onnxruntime", run), str(path))


def test_a_term_is_the_weighted_mean_over_the_teachers() -> None:
    student = network().eval()
    first, second = SegFormerTeacher(network("b1", seed=3)), SegFormerTeacher(network(seed=4))
    settings = {**PAPER, **LOGITS}
    both = distil(student, (3.0, first), (1.0, second), **settings)
    found = terms_of(both, student)
    for index, (share, teacher) in enumerate(((0.75, first), (0.25, second))):
        alone = distil(student, (2.0, teacher), **settings)
        for name in PAPER:
            term = name.removesuffix("_weight")
            alone.projections(term).load_state_dict(both.projections(term, index).state_dict())
        for name, value in terms_of(alone, student).items():
            found[name] = found[name] - share * value
    assert len(found) == 6
    assert all(abs(rest.item()) < 1e-5 for rest in found.values())


def test_each_teacher_has_projections_of_its_own_and_the_first_keeps_its_names() -> None:
    student = network()
    teacher = network("b1")
    one = distil(student, (1.0, SegFormerTeacher(teacher)), **PAPER)
    two = distil(student, (1.0, SegFormerTeacher(teacher)), (1.0, SegFormerTeacher(network(seed=5))), **PAPER)
    assert list(two.state_dict())[: len(one.state_dict())] == list(one.state_dict())
    others = list(two.state_dict())[len(one.state_dict()) :]
    assert others[0] == "feature_projections_2.0.weight"
    assert len(others) == len(one.state_dict())
    two.weighted_total(terms_of(two, student)).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in two.parameters())
    two.double()
    for item in two.teachers:
        assert isinstance(item, SegFormerTeacher)
        assert {p.dtype for p in item.model.parameters()} == {torch.float64}


@pytest.mark.parametrize("std", [(0.229, 0.224, 0.225), (0.4, 0.5, 0.6)])
def test_an_exported_file_teaches_as_its_model_does(std: tuple[float, float, float]) -> None:
    student, model = network().eval(), network(seed=6).eval()
    model.metadata = replace(model.metadata, mean=(0.1, 0.2, 0.3), std=std)
    student.metadata = replace(student.metadata, std=(0.21, 0.22, 0.23))
    found = terms_of(distil(student, (1.0, exported(model)), **LOGITS), student)
    expected = terms_of(distil(student, (1.0, SegFormerTeacher(model)), **LOGITS), student)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_a_file_gets_the_very_pixels() -> None:
    metadata = ModelMetadata.unnamed(4)
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(teachers._pixels(metadata.normalize(every), metadata), every)


def test_a_copy_loads_the_file_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(path: str) -> LoadedModel:
        loaded.append(path)
        return exported(network()).model

    monkeypatch.setattr(teachers, "load_exported", load)
    student = network()
    twin = copy.deepcopy(distil(student, (1.0, exported(network(), Path("dir/b0.onnx"))), kl_weight=1.0))
    assert loaded == ["dir/b0.onnx"]
    assert twin.teachers[0].source == "dir/b0.onnx"


def test_what_a_teacher_lacks_is_refused_in_one_line() -> None:
    student = network()
    with pytest.raises(UsageError, match=r"b0\.onnx: an exported file answers with logits alone, and feature_weight"):
        distil(student, (1.0, exported(network())), **PAPER)
    strangers = SegFormerTeacher(network("b1", 7), "runs/b1")
    with pytest.raises(UsageError, match="runs/b1: dist_weight needs a teacher with the student's 4 classes, found 7"):
        distil(student, (1.0, SegFormerTeacher(network())), (1.0, strangers), dist_weight=1.0)
    terms = terms_of(distil(student, (1.0, strangers), **PAPER), student)  # of other classes, features alone
    assert set(terms) == {"feature", "patch_embedding"}
