"""effiseg: small, fast segmentation models that are also good.

The names below are imported on first use, so that `import effiseg` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from effiseg import distillation, losses
    from effiseg.errors import DataError, EffisegError, ModelError, RunError, UsageError
    from effiseg.inference.predictor import Predictor
    from effiseg.inference.segmentation import Segmentation
    from effiseg.models.fuse import fuse
    from effiseg.models.pretrained import from_pretrained, save_pretrained
    from effiseg.models.segformer import SegFormer

__version__ = "0.1.0"

__all__ = [
    "DataError",
    "EffisegError",
    "ModelError",
    "Predictor",
    "RunError",
    "SegFormer",
    "Segmentation",
    "UsageError",
    "__version__",
    "distillation",
    "from_pretrained",
    "fuse",
    "losses",
    "save_pretrained",
]

_MODULES = {
    "DataError": "effiseg.errors",
    "EffisegError": "effiseg.errors",
    "ModelError": "effiseg.errors",
    "Predictor": "effiseg.inference.predictor",
    "RunError": "effiseg.errors",
    "SegFormer": "effiseg.models.segformer",
    "Segmentation": "effiseg.inference.segmentation",
    "UsageError": "effiseg.errors",
    "from_pretrained": "effiseg.models.pretrained",
    "fuse": "effiseg.models.fuse",
    "save_pretrained": "effiseg.models.pretrained",
}


def __getattr__(name: str) -> Any:
    if name in ("distillation", "losses"):
        return import_module(f"effiseg.{name}")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'effiseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
