"""effiseg: small, fast segmentation models that are also good.

The names below are imported on first use, so that `import effiseg` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from effiseg.version import __version__

if TYPE_CHECKING:
    from effiseg import distillation, losses
    from effiseg.api.conversion import convert_model
    from effiseg.api.datasets import check_data, convert_data, data_statistics, shard_data, synthesize_scenes
    from effiseg.api.models import evaluate, export_model, inspect_norms, predict, push, run_benchmark
    from effiseg.api.training import ablate, pretrain, resume, train
    from effiseg.api.web import export_site, serve
    from effiseg.data.python_data import PythonData
    from effiseg.errors import DataError, EffisegError, Interrupted, ModelError, ResourceError, RunError, UsageError
    from effiseg.inference.segmentation import Segmentation
    from effiseg.models.fuse import fuse
    from effiseg.models.hub_segformer import SegFormer, from_pretrained
    from effiseg.models.pretrained import save_pretrained
    from effiseg.prediction.predictor import Predictor
    from effiseg.report.page import write_report
    from effiseg.results import EvaluationResult
    from effiseg.runs import Comparison, Run

__all__ = [
    "Comparison",
    "DataError",
    "EffisegError",
    "EvaluationResult",
    "Interrupted",
    "ModelError",
    "Predictor",
    "PythonData",
    "ResourceError",
    "Run",
    "RunError",
    "SegFormer",
    "Segmentation",
    "UsageError",
    "__version__",
    "ablate",
    "check_data",
    "convert_data",
    "convert_model",
    "data_statistics",
    "distillation",
    "evaluate",
    "export_model",
    "export_site",
    "from_pretrained",
    "fuse",
    "inspect_norms",
    "losses",
    "predict",
    "pretrain",
    "push",
    "resume",
    "run_benchmark",
    "save_pretrained",
    "serve",
    "shard_data",
    "synthesize_scenes",
    "train",
    "write_report",
]

_MODULES = {
    "Comparison": "effiseg.runs",
    "DataError": "effiseg.errors",
    "EffisegError": "effiseg.errors",
    "EvaluationResult": "effiseg.results",
    "Interrupted": "effiseg.errors",
    "ModelError": "effiseg.errors",
    "Predictor": "effiseg.prediction.predictor",
    "PythonData": "effiseg.data.python_data",
    "ResourceError": "effiseg.errors",
    "Run": "effiseg.runs",
    "RunError": "effiseg.errors",
    "SegFormer": "effiseg.models.hub_segformer",
    "Segmentation": "effiseg.inference.segmentation",
    "UsageError": "effiseg.errors",
    "ablate": "effiseg.api.training",
    "check_data": "effiseg.api.datasets",
    "convert_data": "effiseg.api.datasets",
    "convert_model": "effiseg.api.conversion",
    "data_statistics": "effiseg.api.datasets",
    "evaluate": "effiseg.api.models",
    "export_model": "effiseg.api.models",
    "export_site": "effiseg.api.web",
    "from_pretrained": "effiseg.models.hub_segformer",
    "fuse": "effiseg.models.fuse",
    "inspect_norms": "effiseg.api.models",
    "predict": "effiseg.api.models",
    "pretrain": "effiseg.api.training",
    "push": "effiseg.api.models",
    "resume": "effiseg.api.training",
    "run_benchmark": "effiseg.api.models",
    "save_pretrained": "effiseg.models.pretrained",
    "serve": "effiseg.api.web",
    "shard_data": "effiseg.api.datasets",
    "synthesize_scenes": "effiseg.api.datasets",
    "train": "effiseg.api.training",
    "write_report": "effiseg.report.page",
}


def __getattr__(name: str) -> Any:
    if name in ("distillation", "losses"):
        return import_module(f"effiseg.{name}")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'effiseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
