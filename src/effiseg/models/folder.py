"""The files of a model folder; what an upload takes must be known without torch."""

from __future__ import annotations

from pathlib import Path

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
SHARDS_FILE = "model.safetensors.index.json"
PREPROCESSOR_FILE = "preprocessor_config.json"


def has_safetensors(path: Path) -> bool:
    """Whether a model folder's weights can be read by `pretrained.read_weights`."""
    return (path / WEIGHTS_FILE).is_file() or (path / SHARDS_FILE).is_file()
