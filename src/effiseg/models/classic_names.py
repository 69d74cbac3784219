"""The names that transformers' files give to our parameters and buffers; model folders are written under them."""

from __future__ import annotations

import re

_BEGINNINGS = (
    (
        r"encoder\.stages\.(\d)\.patch_embedding\.norm\.",
        r"segformer.encoder.patch_embeddings.\1.layer_norm.",
    ),
    (r"encoder\.stages\.(\d)\.patch_embedding\.", r"segformer.encoder.patch_embeddings.\1."),
    (r"encoder\.stages\.(\d)\.norm\.", r"segformer.encoder.layer_norm.\1."),
    (r"encoder\.stages\.(\d)\.blocks\.", r"segformer.encoder.block.\1."),
)
"""Beginnings of our parameter names and what transformers' files call them."""

CLASSIC_BLOCK_NAMES = {
    "norm1": "layer_norm_1",
    "norm2": "layer_norm_2",
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "attention.reduction": "attention.self.sr",
    "attention.reduction_norm": "attention.self.layer_norm",
    "mlp.fc1": "mlp.dense1",
    "mlp.dwconv": "mlp.dwconv.dwconv",
    "mlp.fc2": "mlp.dense2",
}
"""Layers of a block: our names and theirs."""


def classic_name(name: str) -> str:
    """The name transformers' files give to the parameter or buffer that we call `name`."""
    for pattern, beginning in _BEGINNINGS:
        renamed, count = re.subn("^" + pattern, beginning, name)
        if count:
            name = renamed
            break
    block = re.fullmatch(r"(segformer\.encoder\.block\.\d+\.\d+\.)(.+)\.(weight|bias|alpha)", name)
    return name if block is None else f"{block[1]}{CLASSIC_BLOCK_NAMES.get(block[2], block[2])}.{block[3]}"
