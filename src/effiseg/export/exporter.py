"""From a model to a checked file: write beside the target, load, compare, measure, and only then name it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from effiseg.config.export import ExportConfig
from effiseg.config.parsing import settings_dict
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.samples import list_samples
from effiseg.engines.engine import FileEngine
from effiseg.engines.record import ExportRecord, digests, report_path
from effiseg.environment import describe_environment, require_memory
from effiseg.export.checks import format_to_write
from effiseg.export.quantization import quantize
from effiseg.export.verification import IMAGES, Verification, check_verification, verify
from effiseg.export.writing import write_file
from effiseg.files import make_folder, partial_prefix, require_place, require_room, write_json, writing
from effiseg.inference.framing import known_size
from effiseg.models.segformer import SegFormer

_ANY_SIZE = (256, 256)  # where a dynamic file of a model without a size of its own is checked


@dataclass
class ExportReport:
    """The file, and how it compares with the model; beside the file as JSON."""

    file: Path
    """The file."""
    record: ExportRecord
    """The record inside the file."""
    verification: Verification
    """The file beside the model it was made from."""
    bytes: int
    """Size of the file and of what else belongs to it."""
    digests: dict[str, str]
    """Suffix → BLAKE2b of the file and of what else belongs to it."""
    quantization: dict[str, Any] | None = None
    """Of int8: calibration, operators, mIoU and latency before and after."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Every setting it was written with, resolved."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "file": self.file.name,
            "bytes": self.bytes,
            "digests": self.digests,
            "record": self.record.to_dict(),
            "verification": self.verification.to_dict(),
            "quantization": self.quantization,
            "settings": self.settings,
            "environment": describe_environment(),
        }


def export_model(model: SegFormer, config: ExportConfig, source: str = "") -> ExportReport:
    """Write a model for an engine, check it against the model, and write the report beside it.

    The file gets its name only when it has passed: weights first, then the graph, the report last. What fails leaves
    nothing behind.

    Args:
        model: on the CPU.
        config: file, form and images.
        source: where the model came from.

    Raises:
        ModelError: the exported network does not compute what the model does.
        UsageError: a package is missing, the model does not say its input size, or the file's suffix, format and
            precision do not go together.
        DataError: the data set breaks a rule.
    """
    file_format = format_to_write(config)
    require_place(config.out)
    input_size = None
    if not config.dynamic:
        fix = "give --image_size HEIGHTxWIDTH or --dynamic"
        input_size = known_size(source, config.image_size, model.metadata.image_size, fix=fix)
    for size in _sizes(input_size, model):
        require_memory(IMAGES, size)
    spec = None if config.data is None else load_dataset_spec(config.data, config.data_root)
    if spec is not None:
        list_samples(spec, config.split)  # a split that is not there is said before the work
    model.eval()
    with staged(config.out) as target:
        require_room(target.parent, sum(parameter.nbytes for parameter in model.parameters()), "exported weights")
        form: dict[str, Any] = {
            "input_size": input_size, "output": config.output, "source": source,
            "opset": config.opset or file_format.usual_opset,
        }  # fmt: skip
        quantization = None
        if config.precision == "int8":
            assert spec is not None
            assert isinstance(file_format, FileEngine), "int8 is judged by running it"
            record, quantization = quantize(model, target, file_format, config, spec, form)
        else:
            record = write_file(model, target, file_format, precision=config.precision, **form)
        loaded = file_format.open_written(target)
        verification = verify(loaded, model, _sizes(input_size, model), record.precision, spec, config.split)
        check_verification(verification, config.out)
        parts = file_format.parts(target)
        report = ExportReport(
            config.out, record, verification, sum(part.stat().st_size for part in parts), digests(parts), quantization,
            settings_dict(config),
        )  # fmt: skip
        write_json(report_path(target), report.to_dict())
        # A kill on the way leaves files that the old report does not fit, and they are refused when they are loaded.
        for part in reversed(parts):
            part.replace(config.out.with_suffix(part.suffix))
        report_path(target).replace(report_path(config.out))
    return report


@contextlib.contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A target's name in a hidden folder beside it, which is gone afterwards with all that is left in it.

    Args:
        out: the target, a file or a folder; its parent folders are made.

    Raises:
        ResourceError: the system refuses to write there.
    """
    with writing(out):
        make_folder(out.parent)
        folder = Path(tempfile.mkdtemp(prefix=partial_prefix(out), suffix=".partial", dir=out.parent))
        try:
            yield folder / out.name
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _sizes(input_size: tuple[int, int] | None, model: SegFormer) -> list[tuple[int, int]]:
    """Where a file is checked: at its size, or at the model's own and an odd one."""
    if input_size is not None:
        return [input_size]
    least = model.shape.least_dynamic_side
    height, width = (max(least, side) for side in model.metadata.image_size or _ANY_SIZE)
    return [(height, width), (max(least, 3 * height // 4) | 1, max(least, 2 * width // 3) | 1)]
