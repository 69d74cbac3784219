"""torch.export: a .pt2 archive for torch's own tools (AOTInductor, ExecuTorch)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from effiseg.engines.engine import Answer, FileFormat, LoadedModel, Pixels
from effiseg.engines.record import PREFIX, ExportRecord, property_names

if TYPE_CHECKING:
    from torch import nn


class _TorchExport(FileFormat):
    """Written, and opened by the process that wrote it alone: loading a stranger's file can run code."""

    format = "torch_export"
    suffix = ".pt2"
    contents = ".pt2, for torch's own tools"
    never_opened = "loading one can run code"

    def write(self, network: nn.Module, path: Path, record: ExportRecord) -> None:
        """See `FileFormat.write`; the record lies in the archive's extra files."""
        import torch

        from effiseg.engines.capture import capture, quiet

        program = capture(network, record)
        extra = {f"{PREFIX}.{name}": text for name, text in record.to_properties().items()}
        archive = io.BytesIO()  # torch aborts the process where it cannot write to a file
        with quiet():
            torch.export.save(program, archive, extra_files=extra)
        path.write_bytes(archive.getbuffer())

    def open_written(self, path: Path) -> LoadedModel:
        """See `FileFormat.open_written`."""
        import torch

        from effiseg.engines.capture import quiet

        found: dict[str, Any] = {f"{PREFIX}.{name}": "" for name in property_names()}
        with quiet():
            program = torch.export.load(path, extra_files=found).module()
        properties = {key.removeprefix(f"{PREFIX}."): text for key, text in found.items()}
        record = ExportRecord.from_properties(properties, path)

        def run(images: Pixels) -> Answer:
            with torch.inference_mode():
                answer: Answer = program(torch.from_numpy(images)).numpy()
            return answer

        return LoadedModel(path, record, record.precision, self.format, run)


TORCH_EXPORT = _TorchExport()
