"""What a run starts from instead of random weights: the setting `init`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from effiseg.config.training import TrainConfig
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.errors import ModelError, RunError
from effiseg.evaluation.evaluator import check_classes
from effiseg.models.pretrained import from_pretrained, weights_digest
from effiseg.models.segformer import SegFormer
from effiseg.run_folder import resolve_model


@dataclass(frozen=True)
class Initialization:
    """Weights that fit the network of a run."""

    source: str
    """Where they come from."""
    digest: str
    """Changes when any weight of the source does."""
    weights: dict[str, Tensor]
    """Parameters and buffers under the network's own names."""

    def apply(self, student: SegFormer) -> None:
        """Put the weights into the network; no random number is drawn."""
        student.load_state_dict(self.weights)

    def report(self) -> dict[str, Any]:
        """What init.json says."""
        return {"source": self.source, "digest": self.digest, "loaded": len(self.weights)}


def load_initialization(config: TrainConfig, spec: DatasetSpec) -> Initialization | None:
    """The weights a run starts from, or None where it starts from random ones.

    Raises:
        ModelError: not a model, of another architecture, or its classes are not the data set's.
        RunError: the weights have changed since the settings were written.
    """
    if config.init is None:
        return None
    model = from_pretrained(resolve_model(config.init))
    for setting in ("variant", "patch_norm", "block_norm"):
        wanted, found = getattr(config.model, setting), getattr(model, setting)
        if found != wanted:
            raise ModelError(
                f"{config.init}: a run starts from weights of its own architecture; model.{setting} is {wanted} in "
                f"the settings and {found} in the weights"
            )
    try:
        check_classes(model, spec)
    except ModelError as error:
        raise ModelError(f"{config.init}: cannot be trained on with this data: {error}") from None
    digest = weights_digest(model.state_dict())
    if config.init_digest not in (None, digest):
        raise RunError(
            f"{config.init}: the weights have changed since they were written down as init_digest "
            f"{config.init_digest}; they are {digest}: take the old ones, or start another run without init_digest"
        )
    return Initialization(config.init, digest, model.state_dict())
