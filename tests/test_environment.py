"""The description of the environment is plain JSON and true."""

from __future__ import annotations

import json
import platform

import pytest
import torch

from effiseg.environment import available_cores, describe_environment, resolve_device
from effiseg.errors import UsageError


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


def test_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"
    with pytest.raises(UsageError, match="--device cpu"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == resolve_device("cuda") == "cuda"
    assert resolve_device("cpu") == "cpu"
