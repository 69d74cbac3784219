"""Checks before a run begins: settings that contradict each other or the machine."""

from __future__ import annotations

import io
import multiprocessing
import os
import shutil
import sys
from importlib.util import find_spec
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch

from effiseg.config.training import TrainConfig
from effiseg.config.transfer import TransferConfig
from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.python_data import PREFIX, PythonData
from effiseg.data.samples import list_for_training
from effiseg.environment import install_hint, require_memory, resolve_device
from effiseg.errors import DataError, UsageError
from effiseg.losses.custom import Loss
from effiseg.training.trackers import PACKAGES


def check_config(config: TrainConfig, *, launched: bool = False) -> None:
    """Refuse settings that contradict each other or the machine.

    Args:
        config: a run's settings.
        launched: whether a launcher started the processes.

    Raises:
        UsageError: what is missing or contradictory.
        ResourceError: a pass that memory cannot hold.
    """
    if not config.data:
        raise UsageError("--data is missing: give a data set's YAML file, or a preset with --data_root")
    assert config.out, "who calls has made a folder where none was given"
    if config.distillation.enabled and config.teacher is None:
        raise UsageError(
            f"recipe {config.recipe} distils: give --teacher a run folder, a model folder, a transformers folder or an "
            "exported file"
        )
    if config.teacher is not None and not config.distillation.enabled:
        raise UsageError(
            f"--teacher is given, but recipe {config.recipe} has no distillation term; "
            "take --recipe kd or set --distillation.feature_weight"
        )
    if config.unlabeled and config.teacher is None:
        raise UsageError(
            f"--unlabeled pictures are learnt from a teacher, and recipe {config.recipe} has none; give --teacher with "
            "--recipe kd or another that distils, or leave unlabeled out"
        )
    if config.precision == "float16" and resolve_device(config.device) == "cpu":
        raise UsageError("--precision float16 needs a GPU; on the CPU take float32 or bfloat16")
    if resolve_device(config.device) == "cuda" and config.devices > torch.cuda.device_count():
        raise UsageError(f"--devices {config.devices}: torch sees {torch.cuda.device_count()} GPUs; ask for no more")
    if config.num_nodes > 1 and not launched:
        raise UsageError(
            f"num_nodes {config.num_nodes}: no launcher started this process; start the same command on every machine, "
            f"as torchrun --nnodes {config.num_nodes} --nproc-per-node {config.devices} … -m effiseg train "
            "(docs/scale.md)"
        )
    require_memory(config.batch_size_per_pass, config.input_size, config.device)
    if config.compile and (missing := missing_compiler(resolve_device(config.device))):
        raise UsageError(f"--compile true needs {missing}; train without it")
    for tracker in config.trackers:
        if not any(find_spec(name) for name in PACKAGES[tracker]):
            raise UsageError(f"--logger {tracker} needs the package: {install_hint(tracker)}")


def check_objects(config: TrainConfig, data: PythonData | None, loss: Loss | None, *, launched: bool = False) -> None:
    """Refuse a run whose settings stand for an object that only Python can give, without it.

    Args:
        config: a run's settings.
        data: the data set, where it is no file.
        loss: the loss, where it is the user's own.
        launched: whether a launcher started the processes, which then need not be sent anything.

    Raises:
        UsageError: it is missing, or was given to a run that has no place for it, or cannot be handed to processes.
    """
    if config.data.startswith(PREFIX) and data is None:
        raise UsageError(
            f"{config.out}: its data, {config.data}, was given in Python and lies in no file; go on with "
            f"effiseg.resume({config.out!r}, data=…)"
        )
    if data is not None and not config.data.startswith(PREFIX):
        raise UsageError(f"{config.out}: its data is {config.data}; found other data beside it, leave that out")
    if data is not None and config.cache != "off":
        raise UsageError(
            f"cache {config.cache} keeps decoded files; data given in Python is read as it is: leave it off"
        )
    if data is not None and "train" not in data.splits:
        raise UsageError("PythonData: a run needs the split train; found " + ", ".join(data.splits))
    if config.loss.name == "custom" and loss is None:
        raise UsageError(
            f"{config.out}: loss.name custom stands for a loss given in Python, which no file holds; use "
            f"effiseg.train(loss=…), or go on with effiseg.resume({config.out!r}, loss=…)"
        )
    if loss is not None and config.loss.name != "custom":
        raise UsageError(f"{config.out}: minimizes {config.loss.name}; found another loss beside it, leave that out")
    if config.devices > 1 and not launched:
        for name, value in (("data", data), ("loss", loss)):
            check_can_be_sent(name, value, f"{config.devices} training processes", "devices=1")
    if config.workers > 0 and (multiprocessing.get_start_method(allow_none=True) or _default_start_method()) != "fork":
        check_can_be_sent("data", data, "loader workers, which start afresh here", "workers=0")
    if config.devices > 1 and hasattr(sys, "ps1"):
        raise UsageError(f"devices {config.devices} needs a script or the command line; in a notebook take devices=1")


def _default_start_method() -> str:
    """How Python starts processes here unless told otherwise."""
    return multiprocessing.get_all_start_methods()[0]


def check_can_be_sent(name: str, value: object, where: str, otherwise: str) -> None:
    """Refuse an object that cannot be handed to a new process.

    Args:
        name: what it is called in the error.
        value: the object.
        where: which processes it goes to.
        otherwise: the setting that does without them.

    Raises:
        UsageError: it cannot be pickled, or its class lies in a notebook, where a new process does not find it.
    """
    reason = ""
    if getattr(value, "__module__", "") == "__main__" and not hasattr(sys.modules["__main__"], "__file__"):
        reason = "it is defined in a notebook or at a prompt"
    try:
        ForkingPickler(_Nowhere()).dump(value)
    except Exception as error:
        reason = " ".join(str(error).split())
    if reason:
        raise UsageError(
            f"{name}: cannot be sent to {where} ({reason}); define it at the top level of a module, or set {otherwise}"
        )


class _Nowhere(io.RawIOBase):
    """Takes whatever is written and keeps nothing."""

    def writable(self) -> bool:
        """It is only written to."""
        return True

    def write(self, data: Any) -> int:
        """Removal of `data`."""
        return len(memoryview(data).cast("B"))


def check_transfer(settings: TransferConfig) -> tuple[DatasetSpec, int]:
    """The labelled data set on which a pretrained network is measured, and how many images it is trained on there.

    Args:
        settings: their `data` is not null.

    Raises:
        DataError: the data set breaks a rule, or has no val split.
    """
    assert settings.data is not None
    spec = load_dataset_spec(settings.data, settings.data_root)
    if "val" not in spec.splits:
        raise DataError(f"{spec.source}: transfer is measured on val; found only {', '.join(spec.splits)}")
    return spec, len(list_for_training(spec)[0])


def missing_compiler(device: str) -> str | None:
    """The compiler that torch.compile lacks here, or None: it writes C++ for a CPU and Triton kernels for a GPU."""
    compilers = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++", "cl"]
    if not any(map(shutil.which, compilers)):
        return f"a C++ compiler ({' or '.join(compilers)}), which is not on PATH"
    if device == "cuda" and find_spec("triton") is None:
        return "the package triton, which comes with PyTorch's CUDA builds for Linux"
    return None
