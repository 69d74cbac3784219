"""What is checked before a run begins: settings that contradict each other or the machine."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec

import torch

from effiseg.config.training import TrainConfig
from effiseg.environment import resolve_device
from effiseg.errors import UsageError


def check_config(config: TrainConfig) -> None:
    """Refuse settings that contradict each other or the machine.

    Raises:
        UsageError: what is missing or contradictory.
    """
    if not config.data:
        raise UsageError("--data is missing: give a data set's YAML file, or a preset with --data_root")
    if not config.out:
        raise UsageError("--out is missing: give the run folder to write")
    if config.distillation.enabled and config.teacher is None:
        raise UsageError(
            f"recipe {config.recipe} distils: give --teacher a run folder, a model folder or a transformers folder"
        )
    if config.teacher is not None and not config.distillation.enabled:
        raise UsageError(
            f"--teacher is given, but recipe {config.recipe} has no distillation term; "
            "take --recipe kd or set --distillation.feature_weight"
        )
    if config.precision == "16" and resolve_device(config.device) == "cpu":
        raise UsageError("--precision 16 needs a GPU; on the CPU take 32 or bf16")
    if resolve_device(config.device) == "cuda" and config.devices > torch.cuda.device_count():
        raise UsageError(f"--devices {config.devices}: torch sees {torch.cuda.device_count()} GPUs; ask for no more")
    if config.compile and (missing := missing_compiler(resolve_device(config.device))):
        raise UsageError(f"--compile true needs {missing}; train without it")
    if config.tensorboard and not any(find_spec(name) for name in ("tensorboard", "tensorboardX")):
        raise UsageError("--tensorboard needs the package: pip install 'effiseg[tensorboard]'")


def missing_compiler(device: str) -> str | None:
    """What torch.compile lacks here, or None: it writes C++ for a CPU and Triton kernels for a GPU."""
    compilers = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++", "cl"]
    if not any(map(shutil.which, compilers)):
        return f"a C++ compiler ({' or '.join(compilers)}), which is not on PATH"
    if device == "cuda" and find_spec("triton") is None:
        return "the package triton, which comes with PyTorch's CUDA builds for Linux"
    return None
