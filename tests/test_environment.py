"""The description of the environment is plain JSON and true."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from effiseg import environment
from effiseg.environment import available_cores, describe_environment, install_hint, require_memory, resolve_device
from effiseg.errors import ResourceError, UsageError


def test_description(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    found = describe_environment()
    assert json.loads(json.dumps(found)) == found
    assert found["python"] == platform.python_version()
    assert found["packages"]["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert found["cores"] == available_cores() >= 1
    assert found["variables"]["MALLOC_ARENA_MAX"] == "2"
    assert "LD_PRELOAD" not in found["variables"]


def test_passes_that_memory_cannot_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(environment, "available_memory", lambda: 10**9)
    require_memory(4, (512, 1024))
    for images, size in ((10**9, (32, 32)), (1, (16384, 16384))):
        with pytest.raises(ResourceError, match=r"in one pass need .* GB of memory or more, and 1\.0 GB are available"):
            require_memory(images, size, "auto")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    require_memory(1, (16384, 16384), "cuda:0")  # what waits in memory is bytes
    monkeypatch.setattr(environment, "available_memory", lambda: 0)  # unknown
    require_memory(10**9, (32, 32), "cpu")


def test_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"
    with pytest.raises(UsageError, match="--device cpu"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == resolve_device("cuda") == "cuda"
    assert resolve_device("cpu") == "cpu"


@pytest.mark.parametrize(
    ("url", "files", "hint"),
    [
        ("file://{}", ["constraints.txt"], "pip install -c {0}/constraints.txt '{0}[onnx]'"),
        ("file://{}/effiseg-1.whl", ["effiseg-1.whl"], "pip install '{}/effiseg-1.whl[onnx]'"),
        ("file://{}/gone.whl", [], "pip install 'onnx>=1.17' onnxruntime"),
        (None, [], "pip install 'onnx>=1.17' onnxruntime"),
    ],
)
def test_a_hint_fits_the_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str | None, files: list[str], hint: str
) -> None:
    for name in files:
        (tmp_path / name).write_text("")
    found = SimpleNamespace(
        read_text=lambda name: None if url is None else json.dumps({"url": url.format(tmp_path)}),
        requires=["torch>=2", "onnx>=1.17; extra == 'onnx'", 'onnxruntime; extra == "onnx"', "nncf; extra == 'int8'"],
    )
    monkeypatch.setattr("effiseg.environment.metadata.distribution", lambda name: found)
    assert install_hint("onnx") == hint.format(tmp_path)
