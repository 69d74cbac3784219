"""The teachers of a run: found, of the right classes, and good enough to teach."""

from __future__ import annotations

from collections.abc import Sequence

from effiseg.config.training import TrainConfig
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.distillation.teacher import ExportedTeacher, SegFormerTeacher, Teacher, check_teaches
from effiseg.distillation.term import WeightedTerm
from effiseg.engines import load_exported
from effiseg.environment import resolve_device
from effiseg.errors import ModelError, UsageError
from effiseg.evaluation.chance import chance_miou
from effiseg.evaluation.evaluator import check_classes, evaluate
from effiseg.inference.framing import Framing
from effiseg.inference.network import Network, exported_network, trained_network
from effiseg.messages import notice
from effiseg.models.pretrained import from_pretrained
from effiseg.results import EvaluationResult
from effiseg.run_folder import RunFolder, is_exported, resolve_model
from effiseg.training.distillation_task import distillation_terms

OTHER_CLASSES = "has other classes than the data: its features teach, and it is not evaluated"


def load_teachers(config: TrainConfig, spec: DatasetSpec) -> list[Teacher]:
    """The teachers that the settings ask for; none where nothing is distilled.

    Raises:
        ModelError: not a model, or its logits are compared and its classes are not the data set's.
        UsageError: it lacks what a term compares, or is a file for images of another size.
    """
    if not config.distillation.enabled:
        return []
    return [read_teacher(path, config, distillation_terms(config.distillation), spec) for path in config.teachers]


def read_teacher(path: str, config: TrainConfig, terms: Sequence[WeightedTerm], spec: DatasetSpec) -> Teacher:
    """The model of a run, model or transformers folder, or an exported file.

    Args:
        path: as the user gave it.
        config: the run's settings; its input size is asked for.
        terms: what will be compared with it.
        spec: the data set.

    Raises:
        ModelError, UsageError: as `load_teachers`.
    """
    resolved = resolve_model(path)
    teacher: Teacher
    if is_exported(resolved):
        teacher = ExportedTeacher(load_exported(resolved), path)
        _check_size(exported_network(teacher.model, path), config)
    else:
        teacher = SegFormerTeacher(from_pretrained(resolved), path)
    if any(term.needs.logits for _, _, term in terms):
        require_classes(teacher, spec)
    check_teaches(teacher, terms, spec.num_classes)
    return teacher


def evaluations_of_teachers(
    teachers: Sequence[Teacher], config: TrainConfig, spec: DatasetSpec, run: RunFolder
) -> dict[int, EvaluationResult]:
    """Number, from 1, → evaluation of each teacher that has the data set's classes and none in the run's folder yet.

    Raises:
        ModelError: as `check_teacher`.
    """
    found: dict[int, EvaluationResult] = {}
    for number, teacher in enumerate(teachers, 1):
        if run.teacher_evaluation(number).is_file():
            continue
        if knows_classes(teacher, spec):
            found[number] = check_teacher(teacher, config, spec, resolve_device(config.device))
        else:
            notice(f"{teacher.source}: {OTHER_CLASSES}")
    return found


def require_classes(teacher: Teacher, spec: DatasetSpec) -> None:
    """Refuse a teacher whose classes are not the data set's.

    Raises:
        ModelError: the first difference is named.
    """
    try:
        check_classes(_network(teacher, "cpu"), spec)
    except ModelError as error:
        raise ModelError(f"{teacher.source}: cannot teach on this data: {error}") from None


def knows_classes(teacher: Teacher, spec: DatasetSpec) -> bool:
    """Whether its classes are the data set's; of another one only features can be distilled."""
    try:
        check_classes(_network(teacher, "cpu"), spec)
    except ModelError:
        return False
    return True


def check_teacher(
    teacher: Teacher, config: TrainConfig, spec: DatasetSpec, device: str, split: str | None = None
) -> EvaluationResult:
    """Evaluate a teacher of the data set's classes at the run's own input size, on val (train without val) or `split`.

    Raises:
        ModelError: it does not beat always predicting the most frequent class.
    """
    split = split or ("val" if "val" in spec.splits else "train")
    result = evaluate(
        _network(teacher, device),
        Framing(config.input_size, config.resize, batch_size=config.batch_size_per_pass),
        spec,
        split,
        protocol=config.protocol,
        workers=config.workers,
    )
    # A network on a GPU cannot be handed to the processes of a data-parallel run.
    teacher.move(lambda tensor: tensor.cpu())
    chance = chance_miou(result)
    if (result.miou or 0.0) <= chance:
        raise ModelError(
            f"{teacher.source}: the teacher reaches {result.miou or 0.0:.2f} % mIoU on {split}, no more than always "
            f"predicting the most frequent class ({chance:.2f} %); train a better teacher first"
        )
    return result


def _network(teacher: Teacher, device: str) -> Network:
    """The teacher as evaluations run it."""
    if isinstance(teacher, ExportedTeacher):
        return exported_network(teacher.model, teacher.source)
    assert isinstance(teacher, SegFormerTeacher)
    return trained_network(teacher.model, device, teacher.source)


def _check_size(network: Network, config: TrainConfig) -> None:
    """Refuse a file that cannot answer the run's images with logits.

    Raises:
        UsageError: it takes another size, or answers with labels.
    """
    network.require_logits("a teacher")
    size, wanted = network.input_size, config.input_size
    if size not in (None, wanted) or min(wanted) < network.least_side:
        takes = f"from {network.least_side}x{network.least_side} on" if size is None else f"of {size[0]}x{size[1]}"
        raise UsageError(
            f"{network.source}: this file takes images {takes}, and image_size is {config.image_size}; export it for "
            "that size, or give the model folder"
        )
