"""Rows of teachers that a comparison was given: evaluated once, not trained."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from effiseg.benchmark.complexity import complexity
from effiseg.comparison.plan import PlannedRun
from effiseg.config.comparison import AblationConfig, teacher_row
from effiseg.config.model import ModelConfig
from effiseg.config.parsing import settings_dict
from effiseg.config.training import TrainConfig
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.distillation.teacher import ExportedTeacher, SegFormerTeacher, Teacher, check_teaches
from effiseg.environment import resolve_device
from effiseg.errors import ModelError, UsageError
from effiseg.files import read_json, write_json
from effiseg.models.segformer import SegFormer
from effiseg.models.weight_files import weights_digest
from effiseg.nested import flatten
from effiseg.results import AblationRow, EvaluationResult
from effiseg.run_folder import ComparisonFolder
from effiseg.training.distillation_task import distillation_terms
from effiseg.training.teacher import OTHER_CLASSES, check_teacher, knows_classes, read_teacher, require_classes

COMPLEXITY_SIZE = (512, 1024)
"""The input at which work is counted."""


def given_teacher_rows(
    config: AblationConfig,
    spec: DatasetSpec,
    plan: Sequence[PlannedRun],
    reference: TrainConfig,
    folder: ComparisonFolder,
    message: Callable[[str], None],
) -> list[AblationRow]:
    """A row for each teacher that `config` names and that has the data set's classes; none where one is trained here.

    Args:
        config: the comparison's settings.
        spec: the data set.
        plan: the rows that are trained; what they distil each teacher must have.
        reference: what the baseline trains with.
        folder: where evaluations are kept.
        message: told what is not evaluated.

    Raises:
        ModelError, UsageError: a teacher lacks what a row distils, has other classes where no row distils its features
            alone, or does not beat always predicting the most frequent class.
    """
    rows = []
    distilling = [planned for planned in plan if planned.config.distillation.enabled]
    for number, path in enumerate(config.teachers, 1):
        teacher = read_teacher(path, config, (), spec)
        for planned in distilling:
            _check_teaches_row(teacher, planned, spec)
        if not distilling:
            require_classes(teacher, spec)
        if knows_classes(teacher, spec):
            rows.append(_row(teacher, teacher_row(number), config, spec, reference, folder))
        else:
            message(f"{path}: {OTHER_CLASSES}")
    return rows


def _check_teaches_row(teacher: Teacher, planned: PlannedRun, spec: DatasetSpec) -> None:
    """Refuse a teacher that lacks what a row distils.

    Raises:
        ModelError, UsageError: the row is named.
    """
    terms = distillation_terms(planned.config.distillation)
    try:
        if any(term.needs.logits for _, _, term in terms):
            require_classes(teacher, spec)
        check_teaches(teacher, terms, spec.num_classes)
    except (ModelError, UsageError) as error:
        raise type(error)(f"row {planned.row}: {error}") from None


def _row(
    teacher: Teacher,
    name: str,
    config: AblationConfig,
    spec: DatasetSpec,
    reference: TrainConfig,
    folder: ComparisonFolder,
) -> AblationRow:
    """The row of a teacher; evaluated once and kept beside the results."""
    key = {"weights": _digest(teacher), "settings": [config.protocol, config.image_size, config.resize]}
    path = folder.teacher_evaluation(config.split, name)
    kept = read_json(path) if path.is_file() else {}
    if kept.get("key") == key:
        evaluation = EvaluationResult.from_dict(kept["evaluation"], path)
    else:
        evaluation = check_teacher(teacher, config, spec, resolve_device(config.device), config.split)
        write_json(path, {"key": key, "evaluation": evaluation.to_dict()})
    model = teacher.model if isinstance(teacher, SegFormerTeacher) else None
    own = {} if model is None else {f"model.{k}": getattr(model, k) for k in ("variant", "patch_norm", "block_norm")}
    base = flatten(settings_dict(reference))
    settings = {key: value for key, value in own.items() if base[key] != value}
    row = AblationRow.over_seeds(name, f"given: {teacher.source}", [evaluation], [], settings)
    return row if model is None else with_complexity(row, model, spec.num_classes)


def _digest(teacher: Teacher) -> str:
    """A fingerprint of its weights."""
    if isinstance(teacher, ExportedTeacher):
        return hashlib.blake2b(Path(teacher.model.path).read_bytes(), digest_size=16).hexdigest()
    assert isinstance(teacher, SegFormerTeacher)
    return weights_digest(teacher.model.state_dict())


def with_complexity(row: AblationRow, model: ModelConfig | SegFormer, num_classes: int) -> AblationRow:
    """The row with what its network takes to compute."""
    shape = model.shape if isinstance(model, SegFormer) else model.variant
    work = complexity(shape, num_classes, COMPLEXITY_SIZE, model.patch_norm, model.block_norm)
    return replace(row, params_m=work.params / 1e6, gmacs=work.gmacs, gmacs_attention=work.gmacs_attention)
