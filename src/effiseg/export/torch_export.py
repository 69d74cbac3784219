"""torch.export: a .pt2 archive for torch's own tools (AOTInductor, ExecuTorch)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from effiseg.export.capture import capture, quiet
from effiseg.inference.export_record import PREFIX, ExportRecord


def write_torch_export(network: nn.Module, path: Path, record: ExportRecord) -> None:
    """Write `network` as a .pt2 archive.

    Args:
        network: (B, H, W, 3) uint8 to logits or labels, on the CPU.
        path: the .pt2 file.
        record: what is written into its extra files; it names the sizes that the file takes.
    """
    program = capture(network, record.input_size, record.batch_size)
    extra = {f"{PREFIX}.{name}": text for name, text in record.to_properties().items()}
    with quiet():
        torch.export.save(program, path, extra_files=extra)


def load_torch_export(path: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """A file that this process wrote, to be checked; a stranger's file could run code and is never loaded."""
    with quiet():
        return torch.export.load(path).module()
