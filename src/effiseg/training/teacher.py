"""The teacher of a run: found, of the right classes, and good enough to teach."""

from __future__ import annotations

from effiseg.config.training import TrainConfig
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.errors import ModelError
from effiseg.evaluation.chance import chance_miou
from effiseg.evaluation.evaluator import check_classes, evaluate
from effiseg.inference.framing import Framing
from effiseg.inference.network import trained_network
from effiseg.models.pretrained import from_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.results import EvaluationResult
from effiseg.run_folder import resolve_model


def load_teacher(config: TrainConfig, spec: DatasetSpec) -> SegFormer | None:
    """The teacher the settings ask for, or None.

    Raises:
        ModelError: not a model, or its classes are not the data set's.
    """
    if not config.distillation.enabled or config.teacher is None:
        return None
    return read_teacher(config.teacher, spec)


def read_teacher(path: str, spec: DatasetSpec) -> SegFormer:
    """The model of a run, model or transformers folder.

    Raises:
        ModelError: not a model, or its classes are not the data set's.
    """
    teacher = from_pretrained(resolve_model(path))
    try:
        check_classes(teacher, spec)
    except ModelError as error:
        raise ModelError(f"{path}: cannot teach on this data: {error}") from None
    return teacher


def check_teacher(
    teacher: SegFormer, config: TrainConfig, spec: DatasetSpec, device: str, split: str | None = None
) -> EvaluationResult:
    """Evaluate the teacher at the run's own input size, on val (train where there is no val) or on `split`.

    Raises:
        ModelError: it does not beat always predicting the most frequent class.
    """
    split = split or ("val" if "val" in spec.splits else "train")
    result = evaluate(
        trained_network(teacher, device),
        Framing(config.input_size, config.resize, batch_size=config.batch_size_per_pass),
        spec,
        split,
        protocol=config.protocol,
        workers=config.workers,
    )
    teacher.cpu()  # a network on a GPU cannot be handed to the processes of a data-parallel run
    chance = chance_miou(result)
    if (result.miou or 0.0) <= chance:
        raise ModelError(
            f"{config.teacher}: the teacher reaches {result.miou or 0.0:.2f} % mIoU on {split}, no more than always "
            f"predicting the most frequent class ({chance:.2f} %); train a better teacher first"
        )
    return result
