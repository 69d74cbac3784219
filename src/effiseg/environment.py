"""Versions, hardware and threads, as they stand beside every result."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from effiseg.errors import ResourceError, UsageError

_PACKAGES = (
    "effiseg", "torch", "lightning", "numpy", "opencv-python-headless", "pillow", "safetensors",
    "onnx", "onnxruntime", "openvino", "nncf", "ncnn", "pnnx", "ai-edge-litert",
    "litert-torch", "ai-edge-quantizer", "executorch", "torchao", "transformers",
)  # fmt: skip
# Variables that change speed or the order of sums.
_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_ARENA_MAX",
    "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_",
    "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "CUBLAS_WORKSPACE_CONFIG",
)  # fmt: skip


def available_cores() -> int:
    """Cores this process may run on: its affinity, not the machine's count."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def available_memory() -> int:
    """Bytes this process may still use without swapping, as Linux and the container it runs in say; 0 if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    available = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)
    try:  # the limit of a container (cgroup v2); cached files count as used there, but give way
        group = Path("/sys/fs/cgroup")
        used, limit = (int((group / name).read_text(encoding="ascii")) for name in ("memory.current", "memory.max"))
        counters = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        return max(0, min(available, limit - used + int(counters["inactive_file"])))
    except (OSError, ValueError, KeyError):  # no such files, or no limit: "max"
        return available


_LEAST_BYTES = 32
"""Memory for a pixel of the input that no network of ours does without: 15 for the image as bytes and as numbers, the
rest for its first stage."""


def require_memory(images: int, size: tuple[int, int], device: str = "cpu") -> None:
    """Refuse passes that cannot fit into memory, before any of it is asked for; that one fits is not said.

    Args:
        images: of one pass.
        size: (height, width) of the network's input.
        device: auto, cpu or cuda, perhaps with a number: where it computes; images wait in memory as bytes.

    Raises:
        ResourceError: memory has less room.
    """
    height, width = size
    needed = images * height * width * (3 if resolve_device(device.partition(":")[0]) == "cuda" else _LEAST_BYTES)
    available = available_memory()
    if available and needed > available:
        raise ResourceError(
            f"{images} images of {height}x{width} in one pass need {needed / 1e9:.1f} GB of memory or more, and "
            f"{available / 1e9:.1f} GB are available: take smaller or fewer ones (image_size, batch_size)"
        )


def resolve_device(device: str) -> str:
    """ "cpu" or "cuda" for the choice auto, cpu or cuda; auto takes a GPU where there is one.

    Raises:
        UsageError: cuda without a GPU that torch can use.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: no GPU is visible to torch; take --device cpu")
    return device


def require_package(name: str, extra: str, purpose: str) -> Any:
    """An optional package, imported.

    Args:
        name: the module; of a dotted name, the first part is the package.
        extra: the extra of effiseg that installs it.
        purpose: what it is for; a noun.

    Raises:
        UsageError: it is not installed; the message says how to install it.
    """
    package = name.partition(".")[0]
    if find_spec(package) is None:
        raise UsageError(f"{purpose} needs the package {package}, which is not installed: {install_hint(extra)}")
    return import_module(name)


def install_hint(extra: str) -> str:
    """The command that adds an extra to the installation found: from its clone, from its wheel, or by package names.

    Args:
        extra: the extra of effiseg.
    """
    try:
        found = metadata.distribution("effiseg")
    except metadata.PackageNotFoundError:  # imported from a folder; its names are not known
        return f"install the extra {extra} of effiseg"
    address = json.loads(found.read_text("direct_url.json") or "{}").get("url", "")
    place = unquote(address.removeprefix("file://")) if address.startswith("file://") else ""
    if place and Path(place, "constraints.txt").is_file():
        return f"pip install -c {shlex.quote(f'{place}/constraints.txt')} {shlex.quote(f'{place}[{extra}]')}"
    if place.endswith(".whl") and Path(place).is_file():
        return f"pip install {shlex.quote(f'{place}[{extra}]')}"
    marker = re.compile(rf"extra == [\"']{extra}[\"']")
    names = [line.partition(";")[0].strip() for line in found.requires or [] if marker.search(line)]
    return f"pip install {' '.join(shlex.quote(name) for name in names if not name.startswith('effiseg'))}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def package_versions() -> dict[str, str | None]:
    """Package → version, None where it is not installed, of effiseg and of the packages that its results depend on."""
    return {package: _version(package) for package in _PACKAGES}


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe_environment() -> dict[str, Any]:
    """The environment that a result depends on: plain JSON values.

    Returns:
        Keys: python, platform, cpu, cores, threads, gpus (names), cuda (version or null), packages
        (name → version or null), variables (only those that are set).
    """
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "cuda": torch.version.cuda,
        "packages": package_versions(),
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }
