"""The record inside an exported file: the model's metadata, its form, and where it came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from effiseg.config.engine import Output, Precision
from effiseg.config.model import LARGEST_STRIDE, LONGEST_SIDE
from effiseg.environment import available_memory
from effiseg.errors import ModelError, UsageError
from effiseg.files import parse_json, read_json
from effiseg.models.metadata import ModelMetadata
from effiseg.models.shape import OUTPUT_STRIDES
from effiseg.serialization import from_plain

INPUT_NAME = "images"
INPUT_LAYOUT = "uint8 RGB 0..255, (batch, height, width, 3)"
PREFIX = "effiseg"
Shape = tuple[int | None, ...]
"""A tensor's shape; None: any."""
_METADATA_FIELDS = tuple(field.name for field in fields(ModelMetadata))


@dataclass(frozen=True)
class ExportRecord:
    """The facts that travel inside an exported file, as text under keys that begin with `effiseg.`."""

    metadata: ModelMetadata
    """Classes, palette, label mapping, normalization (already inside the network), size and resize."""
    output: Output
    """logits: (B, K, ⌈H/stride⌉, ⌈W/stride⌉) float32. labels: (B, H, W) uint8."""
    precision: Precision
    """Its precision. bfloat16 and float16 concern weights or arithmetic; input and output keep their type."""
    input_size: tuple[int, int] | None
    """(height, width) that it takes; None: any from `least_side` on."""
    output_stride: int = 4
    """Pixels of the input, along one axis, that one logit stands for: 4 or 8."""
    least_side: int = 64
    """Smallest side of its input, where that may be any."""
    batch_size: int | None = None
    """Images of one pass; None: any number."""
    opset: int | None = None
    """Its set of operators, of ONNX."""
    model: str = ""
    """The network: variant, patch norm and block norm."""
    source: str = ""
    """The run, folder or Hub id that it was exported from."""
    versions: Mapping[str, str] | None = None
    """Packages that wrote it → version."""
    input_layout: str = INPUT_LAYOUT
    """The input, in words."""

    def to_properties(self) -> dict[str, str]:
        """Field → JSON text; `from_properties` reads it back."""
        return {name: json.dumps(value, ensure_ascii=False) for name, value in self.to_dict().items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the metadata's among them."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "metadata"}
        own["input_size"] = None if self.input_size is None else list(self.input_size)
        own["versions"] = dict(self.versions or {})
        return self.metadata.to_dict() | own

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], source: object) -> ExportRecord:
        """Read back what `to_properties` gave; what this version does not know is left out.

        Args:
            properties: field → JSON text.
            source: the file, for the error's text.

        Raises:
            ModelError: the file was not written by `effiseg export`, or what it says cannot be read.
        """
        if "names" not in properties or "output" not in properties:
            raise ModelError(
                f"{source}: must be a file that `effiseg export` wrote; found none of its properties inside"
            )
        found = f"{source}: what `effiseg export` wrote inside cannot be read"
        names = [name for name in property_names() if name in properties]
        known = {name: parse_json(properties[name], found, ModelError) for name in names}
        metadata = {name: known.pop(name) for name in _METADATA_FIELDS if name in known}
        record = from_plain(cls, {**known, "metadata": metadata}, found, error=ModelError)
        record.metadata.checked(found)
        return record

    def require_fit(self, source: object, taken: Shape, given: Shape, number_type: str) -> None:
        """Refuse a record that says otherwise than its network, or a pass that memory cannot hold.

        Args:
            source: the file, for the error's text.
            taken: shape of the network's input.
            given: shape of its output, as far as the file says it.
            number_type: of its output: float32, uint8, or what else an engine calls it.

        Raises:
            ModelError: it does not fit.
        """
        if self.output_stride not in OUTPUT_STRIDES:
            raise ModelError(f"{source}: output_stride must be 4 or 8; found {self.output_stride}")
        size = self.input_size or (None, None)
        if self.output == "logits":
            cells = tuple(None if side is None else -(-side // self.output_stride) for side in size)
            expected, number = (self.batch_size, self.metadata.num_classes, *cells), "float32"
        else:
            expected, number = (self.batch_size, *size), "uint8"
        found = f"{source}: the record inside must say what the network is"
        if taken != (self.batch_size, *size, 3):
            raise ModelError(
                f"{found}; it says that images are {_text((self.batch_size, *size, 3))}, the network takes "
                f"{_text(taken)}: export it again"
            )
        same = len(given) == len(expected) and all(
            one is None or other is None or one == other for one, other in zip(given, expected, strict=True)
        )
        if not same or number_type != number:
            raise ModelError(
                f"{found}; it says that {self.output} are {number} {_text(expected)}, the network gives {number_type} "
                f"{_text(given)}: export it again"
            )
        if self.input_size is None:
            return
        if not all(LARGEST_STRIDE <= side <= LONGEST_SIDE for side in self.input_size):
            raise ModelError(f"{source}: sides must be from {LARGEST_STRIDE} to {LONGEST_SIDE}; found {_text(size)}")
        needed = (self.batch_size or 1) * self.input_size[0] * self.input_size[1] * 3
        if needed > (available_memory() or needed):
            raise ModelError(
                f"{source}: the images of one pass, {_text(taken)}, need {needed / 1e9:.1f} GB, and "
                f"{available_memory() / 1e9:.1f} GB are available: export it with fewer images a pass"
            )


def only(ports: Sequence[Any], source: object) -> Any:
    """The one input or output of a network.

    Raises:
        ModelError: there are more, or none.
    """
    if len(ports) != 1:
        raise ModelError(f"{source}: a network has one input and one output; found {len(ports)}: export it again")
    return ports[0]


def _text(shape: Shape) -> str:
    return f"({', '.join('any' if side is None else str(side) for side in shape)})"


def report_path(file: Path) -> Path:
    """Where the report of an export lies: FILE.json."""
    return file.with_name(file.name + ".json")


def digests(parts: Sequence[Path]) -> dict[str, str]:
    """Suffix → BLAKE2b of a file, for all files that belong to an export."""
    found = {}
    for part in parts:
        with part.open("rb") as stream:
            found[part.suffix] = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    return found


def check_report(parts: Sequence[Path], record: ExportRecord) -> None:
    """Refuse a file beside which the report of another one lies, as a killed export over an older one leaves it.

    Args:
        parts: all files that belong to the export, the one that names it first.
        record: the record inside.

    Raises:
        ModelError: the report does not fit; reports of other software are passed over.
    """
    path = report_path(parts[0])
    if not path.is_file():
        return
    advice = "export it again; if the file was changed on purpose, remove its report"
    try:
        value = read_json(path)
    except UsageError as error:
        raise ModelError(f"{error}; {advice}") from None
    if not isinstance(value, dict) or not isinstance(value.get("record"), dict):
        return
    own = record.to_dict()
    other = [name for name, said in value["record"].items() if name in own and own[name] != said]
    if not other and isinstance(value.get("digests"), dict):
        other = [suffix for suffix, digest in digests(parts).items() if value["digests"].get(suffix) != digest]
    elif not other and value.get("bytes") != sum(part.stat().st_size for part in parts):
        other = ["bytes"]
    if other:
        raise ModelError(f"{parts[0]}: must be the file that {path.name} reports; {', '.join(other)} differ: {advice}")


def property_names() -> tuple[str, ...]:
    """The names of all properties that `to_properties` can give."""
    return (*_METADATA_FIELDS, *(field.name for field in fields(ExportRecord) if field.name != "metadata"))
