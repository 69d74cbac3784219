"""The files of a model folder; what an upload takes must be known without torch."""

from __future__ import annotations

from pathlib import Path

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
SHARDS_FILE = "model.safetensors.index.json"
PICKLE_FILE = "pytorch_model.bin"
PICKLE_INDEX_FILE = "pytorch_model.bin.index.json"
CHECKPOINT_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".tar", ".safetensors")
"""Ends of files with weights alone; all but the last are pickles."""
PREPROCESSOR_FILE = "preprocessor_config.json"
NESTED_PROCESSOR_FILE = "processor_config.json"
"""Of transformers 5: where it holds an image processor, the other file does not count."""


def has_safetensors(path: Path) -> bool:
    """Whether a model folder's weights can be read by `weight_files.read_weights`."""
    return (path / WEIGHTS_FILE).is_file() or (path / SHARDS_FILE).is_file()
